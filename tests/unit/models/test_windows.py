"""Windows are gathered as NumPy would, and hold nothing of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockdb.models.windows import Windows, run_lengths


def brute_runs(code: list[int], day: list[int], usable: list[bool]) -> list[int]:
    """Count back from every row, one row at a time."""
    result = []
    for row in range(len(code)):
        length = 0
        while row - length >= 0:
            at = row - length
            if not usable[at] or code[at] != code[row] or day[at] != day[row] - length:
                break
            length += 1
        result.append(length)
    return result


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.booleans()), min_size=1, max_size=40)
)
def test_run_lengths_against_counting(rows: list[tuple[bool, int, bool]]) -> None:
    code, day = [], []
    symbol, date = 0, 0
    for other, step, _ in rows:
        symbol += other
        date = 0 if other else date + step
        code.append(symbol)
        day.append(date)
    usable = [flag for *_, flag in rows]
    found = run_lengths(np.array(code), np.array(day), np.array(usable))
    assert found.tolist() == brute_runs(code, day, usable)


class TestWindows:
    base = np.arange(120, dtype=np.float32).reshape(40, 3)
    ends = np.array([9, 39, 20, 9])
    fancy = base[ends[:, None] + np.arange(-4, 1)]

    def test_every_way_to_index(self) -> None:
        windows = Windows(self.base, self.ends, 5)
        for key in (0, -1, slice(1, 3), [2, 0], np.array([True, False, True, True]), slice(None)):
            np.testing.assert_array_equal(windows[key], self.fancy[key])
        np.testing.assert_array_equal(np.asarray(windows), self.fancy)
        assert windows.shape == self.fancy.shape
        assert windows.nbytes == self.fancy.nbytes
        assert len(windows) == 4
        with pytest.raises(IndexError):
            windows[4]

    def test_channels_first(self) -> None:
        windows = Windows(self.base, self.ends, 5, channels_first=True)
        np.testing.assert_array_equal(np.asarray(windows), self.fancy.swapaxes(1, 2))
        np.testing.assert_array_equal(windows[1], self.fancy[1].T)
        assert windows.shape == (4, 3, 5)

    def test_what_is_gathered_is_the_callers(self) -> None:
        windows = Windows(self.base.copy(), self.ends, 5)
        batch = windows[:]
        batch[:] = -1
        np.testing.assert_array_equal(windows[:], self.fancy)
        one = windows[0]
        one[:] = -1
        np.testing.assert_array_equal(windows[0], self.fancy[0])

    def test_no_copy_is_not_possible(self) -> None:
        with pytest.raises(ValueError, match="gathered"):
            np.array(Windows(self.base, self.ends, 5), copy=False)
