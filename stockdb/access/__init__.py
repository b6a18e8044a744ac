"""Core and processing composed: what a front door, a worker or an algorithm calls."""

from stockdb.access.access import Access
from stockdb.access.history import HistoryRequest
from stockdb.access.provenance import Provenance

__all__ = ["Access", "HistoryRequest", "Provenance"]
