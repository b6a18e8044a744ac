"""Endpoints in every usual spelling."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from stockdb.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An S3 endpoint, taken apart.

    Attributes
    ----------
    netloc : str
        ``host`` or ``host:port``.
    secure : bool
    """

    netloc: str
    secure: bool

    @property
    def url(self) -> str:
        """The endpoint with its scheme."""
        return f"{'https' if self.secure else 'http'}://{self.netloc}"

    @property
    def host(self) -> str:
        """Host name or address without port."""
        return urlsplit(self.url).hostname or self.netloc

    @property
    def loopback(self) -> bool:
        """Whether it is on this very machine."""
        return self.host in {"127.0.0.1", "::1", "localhost"}

    @property
    def port(self) -> int:
        """Port, with the scheme's default."""
        return urlsplit(self.url).port or (443 if self.secure else 80)


_LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE | re.ASCII)
_TLS = {"http": False, "https": True}
# 'https://', and what is typed for it: 'https:/', 'https:', 'http:\\', 'http://https://'.
# 'http:9000' stays a host with a port.
_SCHEME = re.compile(r"(?:(https?):(?!\d+/?$)[/\\]*)+", re.IGNORECASE | re.ASCII)


def parse_endpoint(text: str, secure: bool | None = None) -> Endpoint:
    """Accept every usual spelling of an endpoint, or say which one is right.

    Parameters
    ----------
    text : str
        ``host``, ``host:9000``, ``http://127.0.0.1:9000/``, ``https://host`` ...
    secure : bool, optional
        TLS; None follows the scheme, and means TLS where there is none.

    Raises
    ------
    ConfigurationError
        With the spelling that would be right; never with a part that may be a password.

    Examples
    --------
    >>> parse_endpoint("http://127.0.0.1:9000/")
    Endpoint(netloc='127.0.0.1:9000', secure=False)
    >>> parse_endpoint("minio.example.com").url
    'https://minio.example.com'
    """
    cleaned = text.strip()
    if "@" in cleaned:  # never echo it: what stands before the @ is a password
        raise ConfigurationError(
            "The endpoint contains credentials.",
            remedy="Give the bare host and set MINIO_ACCESS_KEY and MINIO_SECRET_KEY.",
        )
    scheme, rest, well_formed = _split_scheme(cleaned)
    netloc, *path = re.split(r"[/\\?#]", rest, maxsplit=1)
    _check_netloc(netloc)  # before lower(), which makes a k of the Kelvin sign
    netloc = netloc.lower()
    right = f"{scheme}://{netloc}" if scheme in _TLS else netloc
    if scheme and scheme not in _TLS:
        raise ConfigurationError(
            "The endpoint's scheme is neither http nor https.",
            remedy=f"Write 'https://{netloc}' or 'http://{netloc}'.",
        )
    if not well_formed:
        raise ConfigurationError("The endpoint is misspelt.", remedy=f"Write {right!r}.")
    if path and path[0].strip("/\\") or "?" in rest or "#" in rest:
        raise ConfigurationError(
            "An S3 endpoint has no path: requests are signed for the root of the host.",
            remedy=f"Write {right!r}; the bucket goes into MINIO_BUCKET_NAME.",
        )
    by_scheme = _TLS.get(scheme)
    if secure is not None and by_scheme is not None and secure != by_scheme:
        raise ConfigurationError(
            f"The endpoint says {scheme}:// but secure={secure}.",
            remedy=f"Drop one of the two, for example write {netloc!r} with secure={secure}.",
        )
    wanted = secure if secure is not None else by_scheme
    return Endpoint(netloc, True if wanted is None else wanted)


def _split_scheme(text: str) -> tuple[str, str, bool]:
    """Return the scheme, what follows it, and whether ``://`` stands between them."""
    typed = _SCHEME.match(text)
    if typed:
        scheme = typed[1].lower()
        return scheme, text[typed.end() :], typed[0].lower() == f"{scheme}://"
    scheme, separator, rest = text.partition("://")
    if separator:
        return scheme.lower(), rest, True
    return "", text.lstrip("/\\"), not text.startswith(("/", "\\"))


def _check_netloc(netloc: str) -> None:
    """Refuse what is not ``host`` or ``host:port``; only the host is ever echoed."""
    host, colon, port = netloc, "", ""
    if not netloc.endswith("]"):
        before, colon, after = netloc.rpartition(":")
        if colon:
            host, port = before, after
    if _is_ipv6(netloc):
        raise ConfigurationError(
            f"The IPv6 address {netloc!r} has no brackets.",
            remedy=f"Write '[{netloc}]' or '[{netloc}]:9000'.",
        )
    if not _NAME.fullmatch(host) and not (
        host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1])
    ):
        raise ConfigurationError(
            f"Endpoint host {host!r} is not a host name or an address.",
            remedy="Write 'host', 'host:9000' or 'https://host'.",
        )
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigurationError(
            "The endpoint's port is not a number from 1 to 65535.",
            remedy=f"Write '{host}:9000'.",
        )


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone index means nothing to a server
