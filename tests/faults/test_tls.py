"""TLS against plain HTTP, plain HTTP against TLS, and certificates that are not trusted."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stockdb.errors import DeadlineError, TLSError, UnavailableError
from tests.faults.bodies import KEY, SMALL, Connect, Failing, ranges
from tests.faults.origin import Fault, Origin


def write_certificate(path: Path, name: x509.GeneralName) -> None:
    """Sign a certificate with its own key, both into one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "origin of the tests")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))


Serve = Callable[[x509.GeneralName], tuple[Origin, Path]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start origins that speak TLS; gives their certificates too."""
    running: list[Origin] = []

    def start(name: x509.GeneralName) -> tuple[Origin, Path]:
        path = tmp_path / f"{len(running)}.pem"
        write_certificate(path, name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        running.append(Origin(context).__enter__())
        running[-1].put(KEY, SMALL)
        return running[-1], path

    yield start
    for origin in running:
        origin.__exit__()


HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


def test_trusted_certificate(serve: Serve, connect: Connect) -> None:
    origin, certificate = serve(HERE)
    store = connect(origin.url, ca_file=certificate)
    for _ in range(5):
        assert store.get(KEY).data == SMALL
    assert origin.accepts == 1


@pytest.mark.parametrize("kind", ["reset-mid-body", "fin-mid-body", "stall-mid-body"])
def test_broken_body_is_resumed_over_tls(serve: Serve, connect: Connect, kind: Any) -> None:
    origin, certificate = serve(HERE)
    origin.put(KEY, SMALL, fault=Fault(kind, at=20_000, times=1))
    assert connect(origin.url, ca_file=certificate).get(KEY).data == SMALL
    first, second = ranges(origin)
    assert first is None and second is not None
    assert second[0] <= 20_000  # a reset may take the last record with it


@pytest.mark.parametrize("kind", ["drip-headers", "drip-body", "stall-mid-body"])
def test_drip_and_stall_are_cut_over_tls(
    serve: Serve, connect: Connect, failing: Failing, kind: Any
) -> None:
    origin, certificate = serve(HERE)
    origin.put(KEY, SMALL, fault=Fault(kind, pause=0.1))
    budgets = {"object_deadline": 1, "read_timeout": 5, "stall_window": 60}
    store = connect(origin.url, ca_file=certificate, **budgets)
    failing(DeadlineError, store.get, KEY, within=2)


def test_certificate_that_is_not_trusted(serve: Serve, connect: Connect, failing: Failing) -> None:
    origin, _ = serve(HERE)
    error = failing(TLSError, connect(origin.url).get, KEY)
    assert "not trusted" in str(error) and origin.url in str(error) and "ca_file" in error.remedy
    assert error.retryable is False
    assert origin.requests == []


def test_certificate_of_somebody_else(serve: Serve, connect: Connect, failing: Failing) -> None:
    origin, certificate = serve(x509.DNSName("minio.invalid"))
    error = failing(TLSError, connect(origin.url, ca_file=certificate).get, KEY)
    assert "127.0.0.1" in str(error)
    assert origin.requests == []


def test_certificates_unchecked_only_with_a_warning(serve: Serve, connect: Connect) -> None:
    origin, _ = serve(HERE)
    with pytest.warns(UserWarning, match="not checked"):
        store = connect(origin.url, verify_certificates=False)
    assert store.get(KEY).data == SMALL


def test_tls_against_a_plain_server(origin: Origin, connect: Connect, failing: Failing) -> None:
    url = origin.url.replace("http://", "https://")
    store = connect(url)
    for call in (store.get, store.stat):
        error = failing(TLSError, call, KEY)
        assert url in str(error) and origin.url in error.remedy and "secure=False" in error.remedy
        assert error.retryable is False
    assert origin.requests == []


def test_plain_against_a_tls_server(serve: Serve, connect: Connect, failing: Failing) -> None:
    origin, _ = serve(HERE)
    url = origin.url.replace("https://", "http://")
    store = connect(url)
    for call in (store.get, store.stat):
        error = failing(UnavailableError, call, KEY)  # this one hangs up without a word
        assert url in str(error) and "doctor" in error.remedy
    assert origin.requests == []


def test_plain_against_a_tls_server_that_sends_an_alert(connect: Connect, failing: Failing) -> None:
    """What rustls does; the bytes are those of RFC 8446, 6: fatal, decode_error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(2):
                sock, _peer = listener.accept()
                with sock:
                    sock.recv(4096)
                    sock.sendall(bytes([21, 3, 3, 0, 2, 2, 50]))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        store = connect(f"http://127.0.0.1:{listener.getsockname()[1]}")
        error = failing(TLSError, store.get, KEY)
        assert "https://" in error.remedy
        failing(TLSError, store.get_range, KEY, 0, 9)
        thread.join(5)


@pytest.mark.parametrize(
    "text",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",  # Go, so MinIO itself
        b"<html>400 The plain HTTP request was sent to HTTPS port</html>",  # nginx
    ],
)
def test_plain_against_a_tls_server_that_says_so(
    origin: Origin, connect: Connect, failing: Failing, text: bytes
) -> None:
    store = connect(origin.url)
    headers: dict[str, str | None] = {"Content-Type": "text/html"}
    origin.put(KEY, SMALL, fault=Fault("answer", status=400, text=text, headers=headers))
    for call in (store.get, store.stat):
        error = failing(TLSError, call, KEY)
        assert origin.url in str(error) and "https://" in error.remedy
