"""Batches for PyTorch and TensorFlow, where they are installed; neither is a dependency."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from stockdb.errors import ConfigurationError
from stockdb.models.segments import Batch, Segment

if TYPE_CHECKING:
    from stockdb.models.prepared import Prepared

__all__ = ["to_tf", "to_torch"]


def _framework(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigurationError(
            f"{package} is not installed.",
            remedy=f"pip install {package}; segment.batches() gives NumPy arrays without it.",
        ) from None


def _samples(prepared: Prepared) -> dict[str, Segment]:
    segments = {n: s for n, s in prepared.segments.items() if isinstance(s, Segment)}
    if not segments:
        raise ConfigurationError(
            f"{prepared.model_type} has no batches of samples.",
            remedy="Use the arrays of prepared.train, .valid and .test.",
        )
    return segments


def _fields(batch: Batch) -> tuple[Any, ...]:
    middle = () if batch.mask is None else (batch.mask,)
    return (batch.X, *middle, batch.y, batch.weight)


class Samples:
    """Samples of one segment, as a map-style data set of PyTorch; crosses to a loader's worker.

    Parameters
    ----------
    segment : Segment
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment

    def __len__(self) -> int:
        return len(self.segment)

    def __getitem__(self, sample: int) -> tuple[Any, ...]:
        return self.__getitems__([sample])[0]

    def __getitems__(self, samples: list[int]) -> list[tuple[Any, ...]]:
        torch = _framework("torch", "torch")
        fields = _fields(self.segment.take(np.asarray(samples)))
        return list(zip(*map(torch.from_numpy, fields), strict=True))


def to_torch(prepared: Prepared) -> dict[str, Any]:
    """See ``Prepared.to_torch``."""
    segments = _samples(prepared)
    _framework("torch", "torch")
    return {name: Samples(segment) for name, segment in segments.items()}


def to_tf(prepared: Prepared, batch_size: int, *, shuffle: bool) -> dict[str, Any]:
    """See ``Prepared.to_tf``."""
    segments = _samples(prepared)
    tf = _framework("tensorflow", "tensorflow")

    def dataset(segment: Segment, mixed: bool) -> Any:
        epochs = iter(range(segment.seed, 2**31))

        def elements() -> Iterator[Any]:
            for batch in segment.batches(batch_size, shuffle=mixed, seed=next(epochs)):
                X, *mask, y, weight = _fields(batch)
                yield ((X, *mask) if mask else X), y, weight

        example = segment.take(np.arange(0))

        def spec(array: Any) -> Any:
            return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

        X, *mask, y, weight = map(spec, _fields(example))
        signature = (((X, *mask) if mask else X), y, weight)
        made = tf.data.Dataset.from_generator(elements, output_signature=signature)
        # A length, so that an epoch's end is no surprise to Keras.
        batches = -(-len(segment) // batch_size)
        return made.apply(tf.data.experimental.assert_cardinality(batches))

    return {
        name: dataset(segment, shuffle and name == "train") for name, segment in segments.items()
    }
