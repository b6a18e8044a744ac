"""The one error tree: what went wrong, with which values, and what to do about it.

::

    StockDBError
    ├── ConfigurationError        (ValueError)         settings are missing or contradict
    ├── UnavailableError          (ConnectionError)    server unreachable or failing     retryable
    │   └── TLSError              (ConfigurationError) TLS refused: plain server, bad certificate
    ├── DeadlineError             (TimeoutError)       too slow for its time budget      retryable
    ├── AccessDeniedError         (PermissionError)    credentials refused
    ├── CredentialsExpiredError   (PermissionError)    token no longer valid
    ├── ClockSkewError            (PermissionError)    clocks too far apart to sign
    ├── NotFoundError             (FileNotFoundError)  bucket or object is not there
    │   ├── SymbolNotFoundError   (KeyError)           no such symbol; carries suggestions
    │   └── DateNotFoundError     (KeyError)           no file for the date; carries neighbours
    ├── IntegrityError            (OSError)            bytes differ from what was stored retryable
    ├── ObjectChangedError        (OSError)            replaced while it was being read  retryable
    ├── ArchiveError              (ValueError)         a ZIP that cannot be trusted
    ├── DataError                 (ValueError)         content that is not what it claims
    │   └── ValidationError       (ValueError)         a validation rule with policy "raise"
    └── RangeError                (ValueError)         dates that cannot be a range

Every error carries its values as attributes, says in ``remedy`` what to do, says in
``retryable`` whether the same call may succeed later, and survives pickling, so that
it crosses from a worker process unchanged.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AccessDeniedError",
    "ArchiveError",
    "ClockSkewError",
    "ConfigurationError",
    "CredentialsExpiredError",
    "DataError",
    "DateNotFoundError",
    "DeadlineError",
    "IntegrityError",
    "NotFoundError",
    "ObjectChangedError",
    "RangeError",
    "StockDBError",
    "SymbolNotFoundError",
    "TLSError",
    "UnavailableError",
    "ValidationError",
]


class StockDBError(Exception):
    """Base of every error that this library raises on purpose.

    Parameters
    ----------
    message : str
        What happened, in one sentence.
    remedy : str, optional
        What the reader can do about it; the class has a default.
    **values
        What the error is about (``symbol``, ``key``, ``bucket``, ``line`` ...); each
        becomes an attribute and an entry of ``values``.
    """

    retryable: bool = False
    default_remedy: str = "Read the message above and the log for details."
    key: str | None = None
    symbol: str | None = None

    def __init__(self, message: str, *, remedy: str | None = None, **values: Any) -> None:
        self.message = message
        self.remedy = self.default_remedy if remedy is None else remedy
        self.values = values
        super().__init__(f"{message} {self.remedy}".strip())
        for name, value in values.items():  # not __dict__: OSError has slots such as filename
            setattr(self, name, value)

    def __str__(self) -> str:  # KeyError would show the repr of the text
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # With its attributes: what was learnt later (``symbol``, ``retryable``) is no value.
        return _rebuild, (type(self), self.message, self.remedy, self.values), self.__dict__


def _rebuild(
    kind: type[StockDBError], message: str, remedy: str, values: dict[str, Any]
) -> StockDBError:
    return kind(message, remedy=remedy, **values)


class ConfigurationError(StockDBError, ValueError):
    """A setting is missing, misspelt or contradicts another one."""

    default_remedy = "Correct the setting named above (argument, environment or minio_config.py)."


class UnavailableError(StockDBError, ConnectionError):
    """The server cannot be reached or keeps failing; the same call may work later."""

    retryable = True
    default_remedy = "Check the endpoint and the network with `python -m stockdb doctor`."


class TLSError(UnavailableError, ConfigurationError):
    """TLS cannot be set up: a plain server, or a certificate that is not trusted."""

    retryable = False


class DeadlineError(StockDBError, TimeoutError):
    """The server answered too slowly for the time budget of one object."""

    retryable = True
    default_remedy = (
        "Try again, or raise `object_deadline` in PERFORMANCE_CONFIG where the link is slow."
    )


class AccessDeniedError(StockDBError, PermissionError):
    """The server refused these credentials for this bucket or object."""

    default_remedy = (
        "Check MINIO_ACCESS_KEY and MINIO_SECRET_KEY, and that the policy allows "
        "s3:GetObject and s3:ListBucket on the bucket."
    )


class CredentialsExpiredError(StockDBError, PermissionError):
    """The session token is no longer valid."""

    default_remedy = "Fetch a new session token and construct the client again."


class ClockSkewError(StockDBError, PermissionError):
    """The clocks of this machine and of the server differ too much to sign requests."""

    default_remedy = "Synchronise this machine's clock (NTP) and try again."


class NotFoundError(StockDBError, FileNotFoundError):
    """The bucket, object or dataset does not exist."""

    default_remedy = "List what is there with `python -m stockdb ls`."


class SymbolNotFoundError(NotFoundError, KeyError):
    """No object holds this symbol; ``suggestions`` has the nearest spellings."""

    default_remedy = "Call list_symbols() for the symbols that the bucket holds."
    suggestions: tuple[str, ...] = ()


class DateNotFoundError(NotFoundError, KeyError):
    """No file for this date; ``before`` and ``after`` are the nearest dates held."""

    default_remedy = "Call list_option_dates() for the dates that the bucket holds."
    before: str | None = None
    after: str | None = None


class IntegrityError(StockDBError, OSError):
    """Bytes arrived that are not the ones stored: wrong length or checksum."""

    retryable = True
    default_remedy = "Try again; if it persists, the object or a proxy on the way is damaged."


class ObjectChangedError(StockDBError, OSError):
    """The object was replaced while it was being read, more than once."""

    retryable = True
    default_remedy = "Try again when the writer of this object has finished."


class ArchiveError(StockDBError, ValueError):
    """A ZIP archive that is damaged, hostile or not a ZIP at all."""

    default_remedy = "Upload an intact archive; nothing of this one was used."


class DataError(StockDBError, ValueError):
    """The content of an object is not what its dataset declares."""

    default_remedy = "Correct the file, or read leniently: on_bad_rows='quarantine'."
    line: int | None = None


class ValidationError(DataError):
    """A validation rule whose policy is ``raise`` found rows; ``report`` has them."""

    default_remedy = "Look at error.report, or choose the policy 'flag' or 'drop'."
    report: Any = None


class RangeError(StockDBError, ValueError):
    """A start, end or date that cannot be understood, or a reversed range."""

    default_remedy = "Give dates as 'YYYY-MM-DD', date, datetime or Timestamp, start <= end."
