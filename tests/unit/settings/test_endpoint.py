"""Endpoints: every usual spelling is accepted, or refused with the right one."""

from __future__ import annotations

import re
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockdb.errors import ConfigurationError
from stockdb.settings import Connection, Endpoint, Settings, load_settings, parse_endpoint

CANARY = "-".join(["CANARY", "do", "not", "print"])  # joined: no source line shows it

ACCEPTED = {
    # spelling: (netloc, secure, host, port, url)
    "host": ("host", True, "host", 443, "https://host"),
    "host:9000": ("host:9000", True, "host", 9000, "https://host:9000"),
    "https://host": ("host", True, "host", 443, "https://host"),
    "https://host/": ("host", True, "host", 443, "https://host"),
    "https://host//": ("host", True, "host", 443, "https://host"),
    "https://host:443": ("host:443", True, "host", 443, "https://host:443"),
    "http://host": ("host", False, "host", 80, "http://host"),
    "http://127.0.0.1:9000/": ("127.0.0.1:9000", False, "127.0.0.1", 9000, "http://127.0.0.1:9000"),
    "127.0.0.1": ("127.0.0.1", True, "127.0.0.1", 443, "https://127.0.0.1"),
    "localhost:9000/": ("localhost:9000", True, "localhost", 9000, "https://localhost:9000"),
    "  host:9000\n": ("host:9000", True, "host", 9000, "https://host:9000"),
    "HTTPS://Minio.Example.COM": (
        "minio.example.com",
        True,
        "minio.example.com",
        443,
        "https://minio.example.com",
    ),
    "s3.eu-west-1.amazonaws.com": (
        "s3.eu-west-1.amazonaws.com",
        True,
        "s3.eu-west-1.amazonaws.com",
        443,
        "https://s3.eu-west-1.amazonaws.com",
    ),
    "my_minio:9000": ("my_minio:9000", True, "my_minio", 9000, "https://my_minio:9000"),
    "http:9000": ("http:9000", True, "http", 9000, "https://http:9000"),  # a host of that name
    "host:1": ("host:1", True, "host", 1, "https://host:1"),
    "host:65535": ("host:65535", True, "host", 65535, "https://host:65535"),
    "[::1]": ("[::1]", True, "::1", 443, "https://[::1]"),
    "[::1]:9000": ("[::1]:9000", True, "::1", 9000, "https://[::1]:9000"),
    "http://[2001:DB8::1]:9000/": (
        "[2001:db8::1]:9000",
        False,
        "2001:db8::1",
        9000,
        "http://[2001:db8::1]:9000",
    ),
    "[::ffff:127.0.0.1]": ("[::ffff:127.0.0.1]", True, "::ffff:127.0.0.1", 443, None),
}

REFUSED = {
    # spelling: the right one, which the message must hold
    "host/minio": "host",
    "host:9000/bucket/": "host:9000",
    "https://host/minio": "https://host",
    "http://host:9000/a/b": "http://host:9000",
    "HTTPS://Host/Minio": "https://host",
    "host\\minio": "host",
    "https://host?region=x": "https://host",
    "https://host/#top": "https://host",
    "http:/host:9000": "http://host:9000",
    "http:/127.0.0.1:9000/": "http://127.0.0.1:9000",
    "https:host": "https://host",
    "http:///host": "http://host",
    "http:\\\\host": "http://host",
    "https://https://host": "https://host",
    "https://http://host": "http://host",
    "//host:9000": "host:9000",
    "s3://host": "https://host",
    "ftp://host:9000": "https://host:9000",
    "tcp://127.0.0.1:9000": "https://127.0.0.1:9000",
    "host:": "host:9000",
    "host:0": "host:9000",
    "host:65536": "host:9000",
    "host:99999": "host:9000",
    "host:9000x": "host:9000",
    "host:-1": "host:9000",
    "host:٩٠٠٠": "host:9000",
    "https://host:port": "host:9000",
    "[::1]:x": "[::1]:9000",
    "::1": "[::1]",
    "2001:db8::1": "[2001:db8::1]",
    "http://::1": "[::1]",
}

NO_HOST = [
    "http://",
    "https:///",
    ":9000",
    "http://:9000",
    "bad host",
    "host name:9000",
    "-host",
    "host-",
    ".host",
    "host..com",
    "'host'",
    "hοst",  # a Greek omicron
    "\u212aelvin",  # lower() would make it a k
    "[dead]",
    "[::1",
    "::1]",
    "[]",
    "[fe80::1%eth0]:9000",
    "host\x00",
    "ho\nst",
    "",
    "   ",
    "/",
]

WITH_CREDENTIALS = [
    f"user:{CANARY}@host",
    f"{CANARY}@host:9000",
    f"https://user:{CANARY}@host:9000/",
    f"https://user:{CANARY}@host/minio",
    f"user:{CANARY}@https://host",
    f"https://user:{CANARY}/@host",
    f"s3://user:{CANARY}@host",
    f"http:/user:{CANARY}@host",
    f"user:{CANARY}",  # access and secret key where the endpoint belongs
    f"https://user:{CANARY}",
    f"user:{CANARY}%40host",
    f"{CANARY}://host",
    f"https://host?X-Amz-Signature={CANARY}",
    f"https://host#{CANARY}",
    f"bad host?{CANARY}",
    f"bad host#{CANARY}",
    f"bad host/{CANARY}",
    f"https://host/{CANARY}",
]


def shown(error: BaseException) -> str:
    """All that a person or a log gets to see of an error."""
    return "".join([str(error), repr(error), *traceback.format_exception(error)])


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str) -> None:
    netloc, secure, host, port, url = ACCEPTED[text]
    found = parse_endpoint(text)
    assert found == Endpoint(netloc, secure)
    assert (found.host, found.port) == (host, port)
    assert found.url == (url or f"https://{netloc}")


@pytest.mark.parametrize("text", ACCEPTED)
def test_its_own_url_is_a_spelling_too(text: str) -> None:
    found = parse_endpoint(text)
    assert parse_endpoint(found.url) == found


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_the_right_one(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_endpoint(text)
    offered = re.findall(r"'([^']+)'", caught.value.remedy)
    assert offered[0] == REFUSED[text]
    for spelling in offered:
        assert parse_endpoint(spelling), "what the message offers must be right"


@pytest.mark.parametrize("text", ["host/minio", "https://host/minio"])
def test_a_path_leads_to_the_bucket_setting(text: str) -> None:
    with pytest.raises(ConfigurationError, match="MINIO_BUCKET_NAME"):
        parse_endpoint(text)


@pytest.mark.parametrize("text", NO_HOST)
def test_no_host(text: str) -> None:
    with pytest.raises(ConfigurationError, match="'host', 'host:9000' or 'https://host'"):
        parse_endpoint(text)


class TestSecure:
    @pytest.mark.parametrize(
        ("text", "secure", "expected"),
        [
            ("host", None, True),
            ("host", True, True),
            ("host", False, False),
            ("host:80", None, True),  # the scheme decides, never the port
            ("http://host", None, False),
            ("http://host", False, False),
            ("http://host:443", None, False),
            ("https://host", None, True),
            ("https://host", True, True),
        ],
    )
    def test_agreeing(self, text: str, secure: bool | None, expected: bool) -> None:
        assert parse_endpoint(text, secure).secure is expected

    @pytest.mark.parametrize(
        ("text", "secure"),
        [("http://host:9000", True), ("https://host:9000/", False), ("HTTP://host:9000", True)],
    )
    def test_conflict(self, text: str, secure: bool) -> None:
        with pytest.raises(ConfigurationError, match=f"secure={secure}") as caught:
            parse_endpoint(text, secure)
        assert f"'host:9000' with secure={secure}" in caught.value.remedy
        assert parse_endpoint("host:9000", secure).secure is secure

    def test_conflict_between_two_sources(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MINIO_ENDPOINT", "http://host:9000")
        assert load_settings().endpoint() == Endpoint("host:9000", False)
        monkeypatch.setenv("MINIO_SECURE", "true")
        with pytest.raises(ConfigurationError, match="http://"):
            load_settings().endpoint()


class TestCredentials:
    @pytest.mark.parametrize("text", WITH_CREDENTIALS)
    def test_never_echoed(self, text: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            parse_endpoint(text)
        assert CANARY.lower() not in shown(caught.value).lower()
        assert CANARY.lower() not in repr(caught.value.values).lower()

    @pytest.mark.parametrize("text", WITH_CREDENTIALS)
    def test_refused_before_a_repr_could_show_them(
        self, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MINIO_ENDPOINT", text)
        for attempt in (lambda: Connection(endpoint=text), load_settings):
            with pytest.raises(ConfigurationError, match="endpoint") as caught:
                attempt()
            assert CANARY.lower() not in shown(caught.value).lower()

    @pytest.mark.parametrize("text", [text for text in WITH_CREDENTIALS if "@" in text])
    def test_the_remedy_names_the_variables(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="MINIO_ACCESS_KEY and MINIO_SECRET_KEY"):
            parse_endpoint(text)


class TestSettings:
    @pytest.mark.parametrize("connection", [Connection(), Connection(endpoint="")])
    def test_none_configured_says_how(self, connection: Connection) -> None:
        with pytest.raises(ConfigurationError, match="No MinIO endpoint is configured") as caught:
            Settings(connection=connection).endpoint()
        for hint in ("MINIO_ENDPOINT", ".env", "minio_config.py", "python -m stockdb demo"):
            assert hint in caught.value.remedy

    def test_wrong_in_the_file_names_the_file(self) -> None:
        with open("minio_config.py", "w", encoding="utf-8") as file:
            file.write('MINIO_CONFIG = {"endpoint": "host/minio"}\n')
        with pytest.raises(ConfigurationError, match=r"minio_config\.py.*endpoint: .*'host'"):
            load_settings()


@given(st.text())
def test_whatever_passes_has_a_host_a_port_and_a_stable_url(text: str) -> None:
    try:
        found = parse_endpoint(text)
    except ConfigurationError:
        return
    assert found.netloc.isascii() and found.netloc.isprintable() and " " not in found.netloc
    assert found.host and 0 < found.port < 65536
    assert parse_endpoint(found.url) == found
