"""A server that breaks on purpose: just enough S3, byte-exact, faults chosen by key.

It keeps whole objects in memory, answers GET (Range, If-Match, If-None-Match), HEAD and
ListObjectsV2, and checks no signature. Every request is recorded. A fault either alters
the answer (a pure function of :data:`ALTERATIONS`) or the way in which it is sent
(:meth:`Origin._deliver`).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import parse_qsl, quote_plus, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["ALTERATIONS", "Fault", "Origin", "Request"]

BUCKET = "stockdb"
_BLOCK = 64 * 1024
_REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 304: "Not Modified"}

Kind = Literal[
    "error",  # an S3 error document of `status` and `code`; without a code an empty body
    "answer",  # `status`, `headers` and `text`, whatever was asked for
    "wrong-byte",  # one bit of byte `at` of the body
    "short",  # the first `at` bytes, and a Content-Length that agrees
    "chunked",  # no Content-Length; `text` is a chunk extension
    "wrong-range",  # a Content-Range that begins one byte late
    "no-range",  # 200 and the whole object to a ranged request
    "repeat-token",  # a listing that names its second page for ever
    "headers",  # replaces or (None) removes headers of the answer
    "reset-before-headers",
    "close-before-headers",
    "stall-before-headers",
    "drip-headers",  # a byte every `pause` seconds
    "fin-mid-headers",  # FIN after `at` bytes of the head
    "reset-mid-body",  # RST after `at` bytes of the body
    "fin-mid-body",  # FIN after `at` bytes, with the full Content-Length
    "stall-mid-body",  # nothing more after `at` bytes
    "drip-body",  # from byte `at` on, a byte every `pause` seconds
]


@dataclass(frozen=True)
class Request:
    """One request as it came in; header names in lower case."""

    number: int
    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    connection: int

    @property
    def range(self) -> tuple[int, int | None] | None:
        """First and last byte asked for, as the header has them."""
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        return None if found is None else (int(found[1]), int(found[2]) if found[2] else None)

    @property
    def if_match(self) -> str | None:
        return self.headers.get("if-match", "").strip('"') or None


@dataclass
class Answer:
    status: int
    headers: dict[str, Any]
    body: bytes = b""


@dataclass
class Fault:
    """What goes wrong, for which requests.

    ``when`` picks requests; of those, ``skip`` pass and then ``times`` fail (None: all).
    """

    kind: Kind
    times: int | None = None
    skip: int = 0
    at: int = 0
    pause: float = 1.0
    status: int = 200
    code: str = ""
    text: bytes = b""
    headers: dict[str, str | None] = field(default_factory=dict)
    when: Callable[[Request], bool] | None = None
    seen: int = 0

    def strikes(self, request: Request) -> bool:
        if self.when is not None and not self.when(request):
            return False
        self.seen += 1
        return self.seen > self.skip and (self.times is None or self.seen <= self.skip + self.times)


@dataclass
class Held:
    """One key: its versions, and by the number of which request the next one takes over."""

    versions: list[bytes]
    changes: tuple[int, ...] = ()
    etag: str | None = "md5"
    headers: dict[str, str] = field(default_factory=dict)
    ignores_if_match: bool = False
    requests: int = 0
    active: int = 0
    peak: int = 0

    def current(self) -> tuple[bytes, str | None]:
        body = self.versions[sum(self.requests > change for change in self.changes)]
        etag = hashlib.md5(body).hexdigest() if self.etag == "md5" else self.etag
        return body, etag


# ------------------------------------------------------------- answers, as a good server gives


def error_document(status: int, code: str, request: Request) -> Answer:
    """What S3 says; the token comes back in it, as AWS does it for an expired one."""
    token = request.headers.get("x-amz-security-token", "")
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
        f"<Message>That is {code}.</Message><Key>{escape(request.key)}</Key>"
        f"<BucketName>{BUCKET}</BucketName><Resource>/{BUCKET}</Resource>"
        f"<RequestId>1</RequestId><HostId>2</HostId><Token-0>{escape(token)}</Token-0></Error>"
    )
    return Answer(status, {"Content-Type": "application/xml"}, text.encode())


def object_answer(held: Held, request: Request) -> Answer:
    body, etag = held.current()
    headers = {
        "Content-Type": "text/csv",
        "Last-Modified": formatdate(1_700_000_000, usegmt=True),
        "Accept-Ranges": "bytes",
        **({"ETag": f'"{etag}"'} if etag else {}),
        **held.headers,
    }
    if request.if_match and request.if_match != etag and not held.ignores_if_match:
        return error_document(412, "PreconditionFailed", request)
    if etag and request.headers.get("if-none-match", "").strip('"') == etag:
        return Answer(304, headers)
    if request.range is None:
        return Answer(200, headers, body)
    first, last = request.range
    if first >= len(body):
        return error_document(416, "InvalidRange", request)
    end = len(body) if last is None else min(last + 1, len(body))
    headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(body)}"
    return Answer(206, headers, body[first:end])


def listing_answer(objects: dict[str, Held], request: Request) -> Answer:
    """One page of ListObjectsV2; the token is the number of the first key of the page."""
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    entries: dict[str, Held | None] = {}  # a name that ends with the delimiter is a folder
    for key in sorted(key for key in objects if key.startswith(prefix)):
        head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        name = prefix + head + cut if cut else key
        entries[name] = None if cut else objects[key]
    start = int(query.get("continuation-token", "t0").removeprefix("t"))
    stop = start + int(query.get("max-keys", "1000"))
    page = list(entries.items())[start:stop]
    rows = []
    for name, held in page:
        shown = quote_plus(name, safe="/") if query.get("encoding-type") == "url" else escape(name)
        if held is None:
            rows.append(f"<CommonPrefixes><Prefix>{shown}</Prefix></CommonPrefixes>")
            continue
        body, etag = held.current()
        rows.append(
            f"<Contents><Key>{shown}</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag><Size>{len(body)}</Size></Contents>"
        )
    more = stop < len(entries)
    following = f"<NextContinuationToken>t{stop}</NextContinuationToken>" if more else ""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
        f"<MaxKeys>{stop - start}</MaxKeys><EncodingType>{query.get('encoding-type', '')}"
        f"</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{following}"
        f"{''.join(rows)}</ListBucketResult>"
    )
    return Answer(200, {"Content-Type": "application/xml"}, text.encode())


# ------------------------------------------------------------- answers that are wrong


def _error(fault: Fault, request: Request, answer: Answer) -> Answer:
    if not fault.code:
        return Answer(fault.status, {})
    return error_document(fault.status, fault.code, request)


def _wrong_byte(fault: Fault, request: Request, answer: Answer) -> Answer:
    body = bytearray(answer.body)
    body[fault.at] ^= 1
    return replace(answer, body=bytes(body))


def _chunked(fault: Fault, request: Request, answer: Answer) -> Answer:
    blocks = [answer.body[at : at + _BLOCK] for at in range(0, len(answer.body), _BLOCK)] + [b""]
    parts = [b"%x%b\r\n%b\r\n" % (len(block), fault.text, block) for block in blocks]
    headers = {**answer.headers, "Transfer-Encoding": "chunked"}
    return Answer(answer.status, headers, b"".join(parts))


def _wrong_range(fault: Fault, request: Request, answer: Answer) -> Answer:
    first, rest = answer.headers["Content-Range"].removeprefix("bytes ").split("-", 1)
    return replace(
        answer, headers={**answer.headers, "Content-Range": f"bytes {int(first) + 1}-{rest}"}
    )


def _repeat_token(fault: Fault, request: Request, answer: Answer) -> Answer:
    pattern = rb"(?<=<NextContinuationToken>)t\d+"
    token = b"t" + request.query["max-keys"].encode()
    return replace(answer, body=re.sub(pattern, token, answer.body))


#: What a fault of this kind makes of a good answer. ``no-range`` acts on the request instead.
ALTERATIONS: dict[str, Callable[[Fault, Request, Answer], Answer]] = {
    "error": _error,
    "answer": lambda fault, request, answer: Answer(fault.status, {}, fault.text),
    "wrong-byte": _wrong_byte,
    "short": lambda fault, request, answer: replace(answer, body=answer.body[: fault.at]),
    "chunked": _chunked,
    "wrong-range": _wrong_range,
    "repeat-token": _repeat_token,
}


# ------------------------------------------------------------- the server


class Origin:
    """The server; ``with Origin() as origin:`` runs it in a thread of its own.

    Attributes
    ----------
    requests : list of Request
        In the order of their arrival.
    accepts : int
        Connections accepted so far; ``open`` counts those that still are.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.objects: dict[str, Held] = {}
        self.faults: dict[str, tuple[Fault, ...]] = {}
        self.requests: list[Request] = []
        self.accepts = self.open = 0
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="origin", daemon=True)

    def __enter__(self) -> Origin:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=512)
        server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port: int = server.sockets[0].getsockname()[1]
        self._server = server
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def put(
        self,
        key: str,
        *versions: bytes,
        fault: Fault | Iterable[Fault] = (),
        changes: tuple[int, ...] = (),
        etag: str | None = "md5",
        headers: dict[str, str] | None = None,
        ignores_if_match: bool = False,
    ) -> Held:
        """Hold an object; see :class:`Held` and :class:`Fault`."""
        self.faults[key] = (fault,) if isinstance(fault, Fault) else tuple(fault)
        held = Held(list(versions), changes, etag, headers or {}, ignores_if_match)
        self.objects[key] = held
        return held

    def break_listing(self, *faults: Fault) -> None:
        """Let listings fail."""
        self.faults[""] = faults

    def of(self, key: str = "") -> list[Request]:
        return [request for request in self.requests if request.key == key]

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepts += 1
        self.open += 1
        writer.transport.set_write_buffer_limits(0)  # drain() then means: the kernel has it
        try:
            number = self.accepts
            while await self._one(number, reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self.open -= 1
            writer.transport.abort() if self._tls else writer.close()

    async def _one(
        self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        first = await reader.readexactly(1)
        if not first.isalpha():  # a TLS hello
            writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request")
            await writer.drain()
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request = self._parse(head, connection)
        self.requests.append(request)
        held = self.objects.get(request.key)
        if held is None:
            return await self._answer(request, None, reader, writer)
        held.requests += 1
        held.active += 1
        held.peak = max(held.peak, held.active)
        try:
            return await self._answer(request, held, reader, writer)
        finally:
            held.active -= 1

    def _parse(self, head: str, connection: int) -> Request:
        line, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = line.split(" ")
        pairs = (each.partition(":") for each in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        parts = urlsplit(target)
        key = unquote(parts.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Request(len(self.requests), method, key, query, headers, connection)

    async def _answer(
        self,
        request: Request,
        held: Held | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        faults = [fault for fault in self.faults.get(request.key, ()) if fault.strikes(request)]
        if any(fault.kind == "no-range" for fault in faults):
            without = {name: value for name, value in request.headers.items() if name != "range"}
            request = replace(request, headers=without)
        if held is not None:
            answer = object_answer(held, request)
        elif request.key:
            answer = error_document(404, "NoSuchKey", request)
        else:
            answer = listing_answer(self.objects, request)
        promised = len(answer.body)
        for fault in faults:
            alter = ALTERATIONS.get(fault.kind)
            if alter is not None:
                answer = alter(fault, request, answer)
                promised = len(answer.body)
            answer.headers.update(fault.headers)
        if "Transfer-Encoding" not in answer.headers and answer.status != 304:
            answer.headers.setdefault("Content-Length", str(promised))
        answer.headers.setdefault("Date", formatdate(usegmt=True))
        told = [(name, value) for name, value in answer.headers.items() if value is not None]
        head = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Error')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in told) + "\r\n"
        body = b"" if request.method == "HEAD" else answer.body
        for fault in faults:
            if fault.kind not in {"no-range", "headers", *ALTERATIONS}:
                await self._deliver(fault, head.encode(), body, reader, writer)
                return False
        writer.write(head.encode())
        await self._send(writer, body)
        return True

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        for at in range(0, len(data), _BLOCK):
            writer.write(data[at : at + _BLOCK])
            await writer.drain()
        await writer.drain()

    async def _deliver(
        self,
        fault: Fault,
        head: bytes,
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send what this fault lets through; the connection is of no use afterwards."""
        what, _, where = fault.kind.partition("-")
        if where == "mid-headers":
            writer.write(head[: fault.at])
        elif where in {"mid-body", "body"}:
            writer.write(head)
            await self._send(writer, body[: fault.at])
        if what == "drip":
            rest = head + body if where == "headers" else body[fault.at :]
            for byte in rest:
                writer.write(bytes([byte]))
                await writer.drain()
                if await self._gone(reader, fault.pause):
                    return
        elif what == "stall":
            await self._gone(reader, None)
        elif what == "reset":
            await asyncio.sleep(0.02)  # an RST must not overtake what was sent before it
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    @staticmethod
    async def _gone(reader: asyncio.StreamReader, seconds: float | None) -> bool:
        """Wait, and say whether the client has hung up meanwhile."""
        try:
            return not await asyncio.wait_for(reader.read(1), seconds)
        except TimeoutError:
            return False
