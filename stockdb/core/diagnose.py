"""What stands between here and the bucket: DNS, TCP, TLS, credentials, bucket, clock."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, Final, Literal

from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline
from stockdb.errors import (
    AccessDeniedError,
    ClockSkewError,
    CredentialsExpiredError,
    NotFoundError,
    StockDBError,
    TLSError,
)

__all__ = ["Check", "ConnectionReport", "diagnose"]

Status = Literal["ok", "failed", "skipped"]
_TOLERATED_SKEW: Final = 300.0  # seconds; S3 servers refuse at 15 minutes


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        ``dns``, ``connect``, ``tls``, ``clock``, ``credentials`` or ``bucket``.
    status : {'ok', 'failed', 'skipped'}
    detail : str
    remedy : str
        Empty where nothing is wrong.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class ConnectionReport:
    """The outcome of ``check_connection``; true where everything is in order.

    Attributes
    ----------
    endpoint, bucket : str
    checks : tuple of Check
    """

    endpoint: str
    bucket: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(check.status != "failed" for check in self.checks)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        marks = {"ok": "ok     ", "failed": "FAILED ", "skipped": "skipped"}
        lines = [f"{self.endpoint}  bucket {self.bucket!r}"]
        for check in self.checks:
            lines.append(f"  {marks[check.status]}  {check.name:<12} {check.detail}")
            if check.remedy:
                lines.append(f"           {'':<12} -> {check.remedy}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(check.name)}</td><td>{check.status}</td>"
            f"<td>{escape(check.detail)}<br>{escape(check.remedy)}</td></tr>"
            for check in self.checks
        )
        return f"<table><caption>{escape(self.endpoint)}</caption>{rows}</table>"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "endpoint": self.endpoint,
            "bucket": self.bucket,
            "ok": self.ok,
            "checks": [
                {"name": c.name, "status": c.status, "detail": c.detail, "remedy": c.remedy}
                for c in self.checks
            ],
        }


def diagnose(
    store: ObjectStore, *, connect_timeout: float, now: Callable[[], dt.datetime]
) -> ConnectionReport:
    """Look at one thing after the other; what depends on a failure is skipped.

    Parameters
    ----------
    store : ObjectStore
    connect_timeout : float
        Seconds.
    now : callable
        The time here, aware.
    """
    checks: list[Check] = []
    endpoint = store.endpoint
    addresses = _resolve(endpoint.host, endpoint.port, checks)
    reached = bool(addresses) and _connect(addresses, connect_timeout, endpoint.url, checks)
    if reached:
        _ask(store, now, checks)
    for name in ("dns", "connect", "tls", "clock", "credentials", "bucket"):
        if name not in {check.name for check in checks}:
            checks.append(Check(name, "skipped", "not reached"))
    order = ["dns", "connect", "tls", "clock", "credentials", "bucket"]
    checks.sort(key=lambda check: order.index(check.name))
    return ConnectionReport(endpoint.url, store.bucket, tuple(checks))


def _resolve(host: str, port: int, checks: list[Check]) -> list[Any]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        checks.append(
            Check(
                "dns",
                "failed",
                f"{host} cannot be resolved ({error.strerror or error})",
                "Check the spelling of MINIO_ENDPOINT and the DNS of this machine.",
            )
        )
        return []
    names = ", ".join(dict.fromkeys(str(item[4][0]) for item in found))
    checks.append(Check("dns", "ok", f"{host} is {names}"))
    return found


def _connect(addresses: list[Any], timeout: float, url: str, checks: list[Check]) -> bool:
    reason = ""
    for family, kind, protocol, _, address in addresses:
        with socket.socket(family, kind, protocol) as sock:
            sock.settimeout(timeout)
            try:
                sock.connect(address)
            except OSError as error:
                reason = error.strerror or str(error) or "no answer"
                continue
            checks.append(Check("connect", "ok", f"port {address[1]} answers"))
            return True
    checks.append(
        Check(
            "connect",
            "failed",
            f"{url}: {reason}",
            "Check that the server runs, the port, and firewalls on the way.",
        )
    )
    return False


def _ask(store: ObjectStore, now: Callable[[], dt.datetime], checks: list[Check]) -> None:
    """Send one signed request and read from its outcome what is right and what is not."""
    secure = store.endpoint.secure
    tls_ok = Check(
        "tls", "ok", "certificate trusted" if secure else "plain HTTP, as the settings say"
    )
    try:
        date = store.probe(Deadline(15.0))
    except TLSError as error:
        checks.append(Check("tls", "failed", error.message, error.remedy))
        return
    except ClockSkewError as error:
        checks += [tls_ok, Check("clock", "failed", error.message, error.remedy)]
        return
    except (AccessDeniedError, CredentialsExpiredError) as error:
        checks += [tls_ok, Check("credentials", "failed", error.message, error.remedy)]
        return
    except NotFoundError as error:
        checks += [
            tls_ok,
            Check("credentials", "ok", "accepted"),
            Check("bucket", "failed", error.message, error.remedy),
        ]
        return
    except StockDBError as error:
        checks += [tls_ok, Check("bucket", "failed", error.message, error.remedy)]
        return
    checks += [
        tls_ok,
        _clock(date, now()),
        Check("credentials", "ok", "accepted"),
        Check("bucket", "ok", f"{store.bucket!r} can be listed"),
    ]


def _clock(there: dt.datetime | None, here: dt.datetime) -> Check:
    if there is None:
        return Check("clock", "skipped", "the server does not tell its time")
    skew = (here - there).total_seconds()
    text = f"differs by {abs(skew):.0f} s"
    if abs(skew) > _TOLERATED_SKEW:
        return Check(
            "clock",
            "failed",
            f"{text}: here {here:%Y-%m-%d %H:%M:%S}Z, server {there:%Y-%m-%d %H:%M:%S}Z",
            "Synchronise this machine's clock (NTP).",
        )
    return Check("clock", "ok", text)
