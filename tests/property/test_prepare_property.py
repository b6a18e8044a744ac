"""Model inputs of any frame: whatever is missing, nothing leaks and no row is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stockdb.errors import DataError
from stockdb.models import MODEL_TYPES, PurgedKFold, WalkForward, prepare_for_model
from stockdb.sessions import sessions
from tests.unit.models import checks

DAYS = sessions("XNYS", pd.Timestamp("2019-01-02"), pd.Timestamp("2019-05-31"))


@st.composite
def frames(draw: Any) -> pd.DataFrame:
    """Up to four symbols, each alive for a while, with holes in rows, features and labels."""
    seed = draw(st.integers(0, 2**16))
    chance = np.random.default_rng(seed)
    horizon = draw(st.integers(1, 8))
    parts = {}
    for number in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, 60))
        last = draw(st.integers(first + 1, len(DAYS)))
        days = DAYS[first:last]
        days = days[chance.random(len(days)) >= draw(st.sampled_from([0.0, 0.02, 0.2]))]
        own = pd.DataFrame(chance.normal(size=(len(days), 2)), index=days, columns=["a", "b"])
        own = own.mask(chance.random(own.shape) < draw(st.sampled_from([0.0, 0.05])))
        own["ret_1"] = chance.normal(size=len(days))
        label = pd.Series(chance.normal(size=len(days)), index=days)
        own[f"y_fwd_{horizon}"] = label.where(np.arange(len(days)) < len(days) - horizon - 1)
        parts[f"S{number}"] = own
    frame = pd.concat(parts, names=["symbol", "date"])
    frame.attrs["horizon"] = horizon
    return frame.sample(frac=1.0, random_state=seed)


@settings(max_examples=120, deadline=None)
@given(
    frames(),
    st.sampled_from(list(MODEL_TYPES)),
    st.integers(1, 12),
    st.one_of(st.none(), st.integers(0, 10)),
)
def test_nothing_leaks_and_no_row_is_lost(
    frame: pd.DataFrame, model: str, seq_len: int, embargo: int | None
) -> None:
    horizon = frame.attrs.pop("horizon")
    label = f"y_fwd_{horizon}"
    rows = len(frame)
    assume(rows)
    stamped = frame.assign(stamp=_stamps(frame.index))
    try:
        found = prepare_for_model(stamped, model, label, seq_len, embargo=embargo)
    except DataError as error:
        assert "No training sample" in str(error) or "no value in the training" in str(error)
        return
    segments = list(found.segments.values())
    kept = sum(int(s.mask.sum()) if model == "rl" else len(s) for s in segments)
    assert kept + sum(found.dropped.values()) == rows
    if model in {"arima_garch", "rl"}:
        return
    ordered = frame.sort_index()
    spans = [checks.label_intervals(s.index, ordered, horizon + 1) for s in segments]
    assert checks.overlaps(spans[0], spans[1] + spans[2]) == 0
    assert checks.overlaps(spans[1], spans[2]) == 0
    wanted = horizon if embargo is None else embargo
    later = [begin for span in spans[1:] for begin, _ in span]
    if later:
        last = max(end for _, end in spans[0])
        assert len(DAYS[(DAYS > last) & (DAYS < min(later))]) >= wanted
    for segment in segments:
        labels = frame.loc[segment.index, label].to_numpy(np.float32)
        np.testing.assert_array_equal(segment.y, labels)
        assert not np.isnan(labels).any()
        values = found.inverse_transform(np.asarray(segment.X))
        place = found.feature_names.index("stamp")
        if found.kind.layout == "window":
            values = values.swapaxes(1, 2) if model == "cnn" else values
            assert np.isfinite(values).all()
            broken = checks.broken_windows(values[:, :, place], _stamps(segment.index))
            assert broken == []
        else:
            np.testing.assert_array_equal(np.rint(values[:, place]), _stamps(segment.index))


def _stamps(index: Any) -> np.ndarray:
    symbol = index.get_level_values(0).str[1:].astype(int).to_numpy()
    return 1000.0 * symbol + DAYS.get_indexer(index.get_level_values(1))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**16),
    st.sampled_from([PurgedKFold, WalkForward]),
    st.integers(2, 5),
    st.integers(0, 5),
)
def test_splits_of_any_intervals(seed: int, kind: Any, splits: int, embargo: int) -> None:
    """Intervals of random length, in random order: no training label meets a test one."""
    chance = np.random.default_rng(seed)
    begin = chance.integers(0, 80, 120)
    end = begin + chance.integers(0, 15, 120)
    t0, t1 = DAYS[begin], DAYS[end]
    cut = kind(splits, t0=t0, t1=t1, embargo=embargo, sessions=DAYS)
    generator = cut.split(np.zeros((120, 1)))
    while True:
        try:
            train, test = next(generator)
        except StopIteration:
            break
        except ValueError as error:  # ConfigurationError: the intervals leave nothing
            assert "Nothing is left to train on" in str(error)
            break
        spans = list(zip(t0, t1, strict=True))
        assert checks.overlaps([spans[n] for n in train], [spans[n] for n in test]) == 0
        assert not set(train) & set(test)
        assert len(train) and len(test)
