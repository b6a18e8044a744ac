"""The one file to edit: connection, cache, validation, performance, LEAPS, datasets.

Every value below is the default. Values given as an argument, in the environment
(``MINIO_ENDPOINT``, ``MINIO_ACCESS_KEY`` ...) or in a ``.env`` file win over this file.
The nearest ``minio_config.py``, from the working directory upwards, is the one that counts;
``python -m stockdb doctor`` prints which one that is.

Keep secrets out of this file: put them into the environment or into ``.env``.
"""

from stockdb.settings import Cache, Connection, Dataset, Leaps, Logs, Performance, Validation

MINIO_CONFIG = Connection(
    endpoint=None,  # "minio.example.com", "https://host:9000", "http://127.0.0.1:9000"
    access_key=None,
    secret_key=None,
    bucket_name="stockdb",
    secure=None,  # None: TLS, unless the endpoint says http://
    region="us-east-1",
)

CACHE_CONFIG = Cache(
    cache_enabled=True,
    cache_dir=None,  # None: the system's cache folder for your user
    cache_ttl_seconds=3600,  # after that the server is asked whether the object changed
    cache_max_bytes=10 * 1024**3,
    cache_max_entry_age_days=30,
    listing_ttl_seconds=300,
    twin_prefix=None,  # "twins/": where `python -m stockdb compact` writes columnar twins of
    twin_bucket=None,  # options files, and every chain read looks for them; None: the same bucket
)

VALIDATION_CONFIG = Validation(
    policy="flag",  # "flag": report and keep, "drop": remove bad rows, "raise": stop
    required_columns=("open", "high", "low", "close", "volume"),
    min_price=0.0,
    max_price=1_000_000.0,
    allow_zero_volume=False,
    jump_ratio=1.4,  # closes this far apart are looked at: a split, a spike, or news?
    scale_ratio=8.0,  # from here on a level left and returned to is a wrong unit
    stale_rows=2,  # equal rows in a row
    max_gap_days=15,  # calendar days without a row
    recycled_gap_days=60,  # calendar days without a trade before another company's prices
    missing_sessions=False,  # True: hold every read against the exchange's calendar, too
    ignore_rules=(),  # such as ("zero_volume", "fractional_volume")
    rule_severities={},  # such as {"split_jump": "error"}
    on_bad_rows="raise",  # "quarantine": leave malformed lines out and count them
    verify_order=False,  # True: never rely on the declared order of a day's options file
)

PERFORMANCE_CONFIG = Performance(
    max_workers=16,
    connect_timeout=3,
    read_timeout=10,
    object_deadline=60,  # seconds for one object, retries included
    max_attempts=5,
)

LEAPS_CONFIG = Leaps(
    symbols=("AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "META", "TSLA", "SPY"),
    min_days_to_expiration=365,
    fees_per_contract=0.65,
)

LOG_CONFIG = Logs(log_dir="~/alpaca-mcp/logs", log_level="INFO")

# What the bucket holds. {SYMBOL}, {YYYY-MM-DD} and {YYYY} stand for the varying part of a key.
DATASETS = {
    "stocks": Dataset(
        key="stocks-2010-2025/{SYMBOL}.csv",
        kind="bars",
        interval="daily",
        adjustment="none",  # say "splits" or "all" where the prices are adjusted already
        start="2010-01-01",
    ),
    "options": Dataset(
        key="options-complete/{YYYY-MM-DD}options.csv",
        kind="options",
        order="underlying",  # rows grouped by underlying, underlyings ascending
        oi_asof="open",
        start="2010-01-01",
    ),
    "options_2002_2009": Dataset(
        key="options/{YYYY}/{YYYY-MM-DD}options.csv", kind="options", end="2009-12-31"
    ),
    "stocks_2002_2009": Dataset(
        key="options/{YYYY}/{YYYY-MM-DD}stocks.csv",
        kind="day_bars",
        interval="daily",
        end="2009-12-31",
    ),
    "archive_2002_2009": Dataset(key="{YYYY}.zip", kind="archive", end="2009-12-31"),
    "samples": Dataset(key="samples/", kind="files"),
    "options_2010_copy": Dataset(key="options-2010/", kind="files", duplicate_of="options"),
    "aws_backup": Dataset(
        key="aws_backup/extracted_options/", kind="files", duplicate_of="options_2002_2009"
    ),
    "financials": Dataset(key="financials/", kind="files"),
    "us_financials": Dataset(key="us_financials/", kind="files"),
    "splits": Dataset(key="reference/splits.csv", kind="reference"),
    "dividends": Dataset(key="reference/dividends.csv", kind="reference"),
    "treasury": Dataset(key="reference/treasury.csv", kind="reference"),
}
