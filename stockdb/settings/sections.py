"""The sections of the settings: frozen, documented, without knowledge of any source."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from stockdb.errors import ConfigurationError
from stockdb.settings.endpoint import parse_endpoint
from stockdb.types import Adjustment, DstPolicy, parse_interval

# os.path rather than Path.expanduser, which raises where there is no such home.
HomePath = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]


class Section(BaseModel):
    """A group of settings: frozen, refuses unknown names, answers ``section['key']``."""

    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise configuration_error(type(self), error) from None

    def __setattr__(self, name: str, value: Any) -> None:
        # pydantic would refuse as well, but with the value in its message.
        raise ConfigurationError(
            f"{type(self).__name__} is frozen: {name!r} cannot be changed.",
            remedy="Give the setting as an argument, or construct new settings.",
        )

    def __delattr__(self, name: str) -> None:
        raise ConfigurationError(
            f"{type(self).__name__} is frozen: {name!r} cannot be removed.",
            remedy="Give the setting as an argument, or construct new settings.",
        )

    def __contains__(self, name: object) -> bool:
        return name in type(self).model_fields

    def __getitem__(self, name: str) -> Any:
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting, or ``default`` where there is none of that name."""
        return self[name] if name in type(self).model_fields else default

    def keys(self) -> list[str]:
        """Names of all settings of this section."""
        return list(type(self).model_fields)


class Connection(Section):
    """Where the bucket is and how to sign in.

    Attributes
    ----------
    endpoint : str or None
        ``host``, ``host:port``, ``http://host:port`` or ``https://host``.
    access_key, secret_key, session_token : str or None
        Credentials; None for all three reads a public bucket.
    bucket_name : str
    secure : bool or None
        TLS; None follows the endpoint's scheme, and means TLS where it has none.
    region : str
        Signing region; MinIO's default is us-east-1.
    ca_file : path or None
        Certificate authorities (PEM); None uses the usual ones.
    verify_certificates : bool
        False is for test servers only and warns.
    """

    endpoint: str | None = None
    access_key: str | None = Field(default=None, repr=False)
    secret_key: SecretStr | None = None
    session_token: SecretStr | None = None
    bucket_name: str = "stockdb"
    secure: bool | None = None
    region: str = "us-east-1"
    ca_file: HomePath | None = None
    verify_certificates: bool = True

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        # Checked here and not only on use: a password in it would show in every repr.
        if value is not None and value.strip():
            parse_endpoint(value)
        return value


class Cache(Section):
    """The local disk cache.

    Attributes
    ----------
    cache_enabled : bool
    cache_dir : path or None
        None is the system's cache folder for this user.
    cache_ttl_seconds : float
        Age after which an entry is checked against the server before it is served.
    cache_max_bytes : int
        Least recently used entries go beyond this size.
    cache_max_entry_age_days : float
        Entries not validated for this long go.
    listing_ttl_seconds : float
        How long a listing of symbols or dates is trusted.
    twin_prefix : str or None
        Where ``python -m stockdb compact`` puts the columnar twins of option files, and every
        read looks for them. None for both this and ``twin_bucket``: there are none.
    twin_bucket : str or None
        Bucket of the twins; None is the bucket of the originals.
    """

    cache_enabled: bool = True
    cache_dir: HomePath | None = None
    cache_ttl_seconds: float = Field(default=3600.0, ge=0)
    cache_max_bytes: int = Field(default=10 * 1024**3, gt=0)
    cache_max_entry_age_days: float = Field(default=30.0, gt=0)
    listing_ttl_seconds: float = Field(default=300.0, ge=0)
    twin_prefix: str | None = None
    twin_bucket: str | None = None


class Validation(Section):
    """Rules that every frame is held against, and what a finding leads to.

    Attributes
    ----------
    policy : {'flag', 'drop', 'raise'}
        ``flag`` reports and keeps the rows, ``drop`` removes rows with an error,
        ``raise`` stops with a ValidationError.
    required_columns : tuple of str
    min_price, max_price : float
        Prices outside are errors (the price itself must be above ``min_price``).
    allow_zero_volume : bool
        False reports a zero volume as a warning.
    jump_ratio : float
        A close this many times the one before, or a fraction as small, is looked at: is it
        a split that was not applied, a spike, or news?
    scale_ratio : float
        From here on a level that is left and returned to is a wrong unit (pence for pounds).
    stale_rows : int
        Equal rows in a row that are reported as stale.
    max_gap_days : float
        Calendar days without a row that are reported.
    recycled_gap_days : float
        Calendar days without a trade after which another price level, or volume, is
        reported as perhaps another company's.
    missing_sessions : bool
        Also hold every read against the exchange's calendar: missing sessions, rows on
        holidays. Off, for loading the calendars takes longer than a read; ``validate_data``,
        ``coverage`` and ``find_gaps`` ask them anyway.
    ignore_rules : tuple of str
        Rules that are left out, by the names that reports show.
    rule_severities : dict of str to {'error', 'warning', 'info'}
        Severities to use instead of a rule's own.
    on_bad_rows : {'raise', 'quarantine'}
        What a malformed line of a file leads to while parsing.
    verify_order : bool
        Never rely on the declared order of a day's options file: read it in full once.
    """

    policy: Literal["flag", "drop", "raise"] = "flag"
    required_columns: tuple[str, ...] = ("open", "high", "low", "close", "volume")
    min_price: float = Field(default=0.0, ge=0)
    max_price: float = Field(default=1_000_000.0, gt=0)
    allow_zero_volume: bool = False
    jump_ratio: float = Field(default=1.4, gt=1)
    scale_ratio: float = Field(default=8.0, gt=2)
    stale_rows: int = Field(default=2, ge=2)
    max_gap_days: float = Field(default=15.0, gt=0)
    recycled_gap_days: float = Field(default=60.0, gt=0)
    missing_sessions: bool = False
    ignore_rules: tuple[str, ...] = ()
    rule_severities: dict[str, Literal["error", "warning", "info"]] = Field(default_factory=dict)
    on_bad_rows: Literal["raise", "quarantine"] = "raise"
    verify_order: bool = False


class Performance(Section):
    """Budgets and parallelism.

    Attributes
    ----------
    max_workers : int
        Parallel downloads.
    connect_timeout, read_timeout : float
        Seconds to connect; seconds without a byte.
    min_bytes_per_second, stall_window : float
        A transfer slower than this over the window (seconds) is given up.
    object_deadline : float
        Seconds for one object, with all its retries.
    max_attempts : int
        Tries of one request.
    backoff_base, backoff_max : float
        Seconds; full jitter between 0 and base * 2**n, at most max.
    verify_checksums : bool
        Hold every object against its stored checksum (an MD5 ETag, usually).
    bandwidth : float
        Bytes a second to expect from a server that is not on this machine; the planner of
        chain reads goes by it.
    part_size : int
        Bytes; larger objects are fetched in parallel ranges of this size.
    """

    max_workers: int = Field(default=16, ge=1, le=256)
    connect_timeout: float = Field(default=3.0, gt=0)
    read_timeout: float = Field(default=10.0, gt=0)
    min_bytes_per_second: float = Field(default=1024.0, ge=0)
    stall_window: float = Field(default=10.0, gt=0)
    object_deadline: float = Field(default=60.0, gt=0)
    max_attempts: int = Field(default=5, ge=1, le=20)
    backoff_base: float = Field(default=0.2, ge=0)
    backoff_max: float = Field(default=5.0, ge=0)
    verify_checksums: bool = True
    bandwidth: float = Field(default=20e6, gt=0)
    part_size: int = Field(default=16 * 1024**2, ge=64 * 1024)


class Leaps(Section):
    """What counts as a LEAPS and which underlyings are scanned by default.

    Attributes
    ----------
    symbols : tuple of str
    min_days_to_expiration : int
    fees_per_contract : float
        Dollars.
    """

    symbols: tuple[str, ...] = ("AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "META", "TSLA", "SPY")
    min_days_to_expiration: int = Field(default=365, ge=0)
    fees_per_contract: float = Field(default=0.65, ge=0)


class Logs(Section):
    """Log files.

    Attributes
    ----------
    log_dir : path
        Rotating files go here; a folder that cannot be written only costs the log.
    log_level : str
    log_max_bytes, log_backups : int
    """

    log_dir: Path = Path("~/alpaca-mcp/logs")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_max_bytes: int = Field(default=5_000_000, gt=0)
    log_backups: int = Field(default=5, ge=0)


class Dataset(Section):
    """One kind of object in the bucket.

    Attributes
    ----------
    key : str
        Key template with ``{SYMBOL}``, ``{YYYY-MM-DD}`` or ``{YYYY}``.
    kind : {'bars', 'options', 'day_bars', 'archive', 'files', 'reference'}
        Bars of one symbol a file; option chains of all underlyings a day; daily bars of
        all symbols a day; ZIPs of such days; files that are only listed and downloaded;
        reference tables.
    format : {'auto', 'csv', 'parquet'}
        ``auto`` goes by the ending; ``.gz`` is unpacked.
    interval : str or None
        Bar length, for bars.
    columns : dict
        Extra spellings: name in the file -> our name. Usual vendor spellings are known.
    adjustment : {'none', 'splits', 'all'}
        What the prices in the file are adjusted for already.
    order : {'none', 'underlying'}
        Declared row order of a day file: grouped by underlying, underlyings ascending.
    oi_asof : {'open', 'close'}
        Whether a row's open interest was known at the open or after the close of its date.
    timezone, calendar : str
        Zone of naive intraday stamps and of session dates; exchange calendar.
    dst_policy : {'raise', 'earlier', 'later', 'quarantine'}
        What a naive intraday stamp means that the zone's clocks showed twice or never: an
        error, the earlier or the later instant, or a row that is left out and reported.
    start, end : str or None
        First and last date that the dataset can hold, where known.
    ttl_seconds : float or None
        None follows the cache's setting.
    duplicate_of : str or None
        Name of the dataset that holds the same rows; such a copy is never read.
    """

    key: str
    kind: Literal["bars", "options", "day_bars", "archive", "files", "reference"] = "bars"
    format: Literal["auto", "csv", "parquet"] = "auto"
    interval: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    adjustment: Adjustment = "none"
    order: Literal["none", "underlying"] = "none"
    oi_asof: Literal["open", "close"] = "open"
    timezone: str = "America/New_York"
    calendar: str = "XNYS"
    dst_policy: DstPolicy = "raise"
    start: str | None = None
    end: str | None = None
    ttl_seconds: float | None = Field(default=None, ge=0)
    duplicate_of: str | None = None

    @field_validator("interval")
    @classmethod
    def _interval(cls, value: str | None) -> str | None:
        return None if value is None else parse_interval(value).name


def configuration_error(section: type[Section], error: ValidationError) -> ConfigurationError:
    """Name the settings that are wrong, without their values: one may be a secret."""
    parts = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(step) for step in item["loc"])
        reason = item["msg"].removeprefix("Value error, ").removesuffix(".")
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, section.model_fields, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            reason = f"there is no such setting{hint}"
        parts.append(f"{name}: {reason}")
    return ConfigurationError(
        f"{section.__name__} settings are wrong: {'; '.join(parts)}.",
        section=section.__name__,
    )
