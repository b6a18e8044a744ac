"""Market data out of a MinIO bucket: the rooms behind the four front doors.

Scripts import :mod:`minio_data_integration`, :mod:`trading_data_adapter`,
:mod:`leaps_data_integration` and :mod:`minio_config`; ``docs/architecture.md``
shows what lives where in here.
"""

__version__ = "0.1.0"
