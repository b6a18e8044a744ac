"""Windows over rows, gathered when they are asked for: 60 times smaller than a copy of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from stockdb.models.rows import Array

__all__ = ["Windows", "run_lengths"]


def run_lengths(code: Array, day: Array, usable: Array) -> Array:
    """Count the rows, up to and with each, that follow one another without a gap.

    Parameters
    ----------
    code, day : numpy.ndarray of int, shape (n,)
        Symbol and session of each row, ascending.
    usable : numpy.ndarray of bool, shape (n,)
        Rows that a window may hold.

    Returns
    -------
    numpy.ndarray of int64, shape (n,)
        0 for a row that is not usable; a window of L rows may end where it is at least L.

    Examples
    --------
    >>> import numpy as np
    >>> run_lengths(np.array([0, 0, 0, 1]), np.array([0, 1, 3, 4]), np.ones(4, bool))
    array([1, 2, 1, 1])
    """
    rows = np.arange(len(code))
    starts = np.ones(len(code), bool)
    starts[1:] = (code[1:] != code[:-1]) | (day[1:] != day[:-1] + 1)
    # The last row before each run: where it starts, or the last row that is not usable.
    before = np.maximum.accumulate(np.where(usable, np.where(starts, rows - 1, -1), rows))
    return np.asarray(rows - before)


class Windows:
    """A read-only array (batch, seq_len, features) that exists one batch at a time.

    Parameters
    ----------
    values : numpy.ndarray of float32, shape (n, features)
        C-contiguous.
    ends : numpy.ndarray of int, shape (batch,)
        Last row of each window; at least ``seq_len - 1``.
    seq_len : int
    channels_first : bool
        Windows as (features, seq_len).

    Notes
    -----
    A window's rows lie side by side in memory, so that gathering one is a single copy of
    ``seq_len * features`` numbers.

    Examples
    --------
    >>> import numpy as np
    >>> base = np.arange(10, dtype=np.float32).reshape(5, 2)
    >>> windows = Windows(base, np.array([2, 4]), 3)
    >>> windows.shape
    (2, 3, 2)
    >>> windows[1][:, 0]
    array([4., 6., 8.], dtype=float32)
    """

    __slots__ = ("_flat", "_width", "channels_first", "ends", "seq_len")

    def __init__(
        self, values: Array, ends: Array, seq_len: int, channels_first: bool = False
    ) -> None:
        self.ends = ends
        self.seq_len = seq_len
        self.channels_first = channels_first
        rows, self._width = values.shape
        step = values.strides[0]
        # Row i holds the window that begins at row i; the rows overlap, so nobody may write.
        self._flat = np.lib.stride_tricks.as_strided(
            values,
            shape=(max(0, rows - seq_len + 1), seq_len * self._width),
            strides=(step, values.itemsize),
            writeable=False,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(windows, seq_len, features), or (windows, features, seq_len)."""
        inner = (self.seq_len, self._width)
        first, second = inner[::-1] if self.channels_first else inner
        return len(self.ends), first, second

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of what is gathered."""
        return self._flat.dtype

    @property
    def ndim(self) -> int:
        """Three."""
        return 3

    @property
    def nbytes(self) -> int:
        """Bytes that all windows together would take."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.ends)

    def __repr__(self) -> str:
        return f"<Windows {self.shape} {self.dtype}, lazy>"

    def __getitem__(self, key: Any) -> Array:
        ends = self.ends[key]
        # An array of places, even for one window: what is gathered is a copy.
        found: Array = self._flat[np.atleast_1d(ends) - (self.seq_len - 1)]
        found = found.reshape(*np.shape(ends), self.seq_len, self._width)
        if self.channels_first:
            return np.ascontiguousarray(found.swapaxes(-1, -2))
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Gather all: mind ``nbytes``."""
        if copy is False:
            raise ValueError("Windows are gathered: there is nothing to share without a copy.")
        return np.asarray(self[:], dtype)
