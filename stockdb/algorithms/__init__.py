"""The data of each trading algorithm: one declaration a file, computed by one engine."""

from stockdb.algorithms.engine import get_data
from stockdb.algorithms.registry import ALGORITHMS, find

__all__ = ["ALGORITHMS", "find", "get_data"]
