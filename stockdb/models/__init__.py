"""Features to model inputs: splits without leaks, lazy windows, scalers fitted on train."""

from stockdb.models.audit import AuditReport, audit
from stockdb.models.kinds import MODEL_TYPES
from stockdb.models.manifest import Manifest
from stockdb.models.own import Own
from stockdb.models.prepare import prepare_for_model
from stockdb.models.splitters import PurgedKFold, WalkForward

__all__ = [
    "MODEL_TYPES",
    "AuditReport",
    "Manifest",
    "Own",
    "audit",
    "PurgedKFold",
    "WalkForward",
    "prepare_for_model",
]
