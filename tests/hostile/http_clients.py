"""Clients over HTTP that send what no client sends: odd addresses, headers, encodings, bodies and endings."""

import asyncio
import gzip
import json
import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Final

from aiohttp import web
from structlog.testing import capture_logs

from orchestrator.api.operations import OPERATIONS
from orchestrator.api.web.connections import Connections
from tests.fakes.http_api import GROUP, GROUP_IN_PATH, KEYS, FakeParts
from tests.hostile.loop_time import LongestStep, measured
from tests.patience import patient

REQUESTS: Final = 64
AT_ONCE: Final = 16
READ_SECONDS: Final = 0.15
LIVEZ: Final = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

_GOOD: Final = json.dumps({"kind": "add_members", "privacy_group_id": GROUP, "members": [KEYS[2]]}).encode()
_PATHS: Final = (
    *((operation.method, operation.path) for operation in OPERATIONS),
    *(
        ("GET", path)
        for path in ("/", "/docs", "/openapi.json", "/static/x.js", "/nope", "*", "http://x/", "//", "/v1/../x")
    ),
)
_ODD: Final = (
    b"%00", b"%ff", b"%2f..%2f", b"%ED%A0%80", b"\xff\xfe", b"x" * 5000, b"%u0041", b"", b"..", b"%25%30", b"\xc3\xa9",
    b"'\"<>", b"{x}", b"[::", b"%E2%80%AE", b"-1", b"9" * 400, b"1e9", b"0x10", b"\xd9\xa1",
)  # fmt: skip # values to draw from: one a line says no more
_NAMES: Final = (
    b"group", b"state", b"limit", b"before", b"id", b"count", b"type", b"change", b"last_event_id", b"members", b"%ff",
)  # fmt: skip # values to draw from: one a line says no more
_HOSTS: Final = (
    *[b"127.0.0.1"] * 12, b"localhost", b"[::1", b"a b", b"127.0.0.1:99999999999", b"\xff", b"localhost:\xc3\xa9", b"",
    b"x.example", b"[::1]:80", b"@localhost",
)  # fmt: skip # values to draw from: one a line says no more
_ATTRIBUTE_NAMES: Final = (
    b"id", b"source", b"type", b"specversion", b"time", b"\xff", b"datacontenttype", b"traceparent",
)  # fmt: skip # values to draw from: one a line says no more
_ATTRIBUTES: Final = (
    b"1.0", b"/s", b"membership.change.requested.v1", b"\xff", b"%ff%fe", b"%ED%A0%80", b"%4", b"", b"x" * 2000,
)  # fmt: skip # values to draw from: one a line says no more
_HEADERS: Final[tuple[tuple[bytes, float, tuple[bytes, ...]], ...]] = (
    (b"Content-Type", 0.8, (
        b"application/json", b"application/json; charset=utf-99", b"application/json;charset=idna", b";", b"\xff/\xfe",
        b'application/json; charset="', b"application/json; charset=utf-16", b"multipart/form-data; boundary=\xff",
        b"application/cloudevents+json", b"application/cloudevents-batch+json", b"application/x-www-form-urlencoded",
        b"a" * 3000, b"application/json; a*=utf-8''%ff", b"application/x-www-form-urlencoded; charset=idna",
    )),
    (b"Content-Encoding", 0.3, (b"gzip", b"deflate", b"br", b"zstd", b"gzip, gzip", b"identity", b"\xff", b"GZIP")),
    (b"Idempotency-Key", 0.6, (b"k", b'"k"', b'"', b"\xff", b"\xc3\xa9", b"x" * 300, b"", b'"\\', b"\xed\xa0\x80")),
    (b"Accept", 0.2, (b"text/html", b"text/plain;version=x", b"\xff", b"," * 4000)),
    (b"Prefer", 0.1, (b"wait=0", b"wait=99999", b"\xff", b"respond-async, wait=1")),
    (b"Last-Event-ID", 0.2, (b"1", b"-1", b"9" * 18, b"\xff", b"\xd9\xa1", b"x")),
    (b"If-None-Match", 0.1, (b"*", b'"', b'"' * 4000, b"\xff", b'W/"x"')),
    (b"Authorization", 0.2, (b"Bearer x", b"Basic \xff", b"Bearer " + b"a." * 2000, b"Bearer eyJhbGciOiJub25lIn0.e.")),
    (b"Cookie", 0.2, (b"orchestrator_token=x", b"\xff=\xfe", b'a="', b";" * 1000)),
    (b"Origin", 0.1, (b"null", b"http://[", b"\xff", b"http://127.0.0.1")),
    (b"Sec-Fetch-Site", 0.1, (b"cross-site", b"\xff", b"none")),
    (b"Expect", 0.1, (b"100-continue", b"x")),
    (b"Range", 0.1, (b"bytes=0-", b"bytes=9-1", b"\xff")),
    (b"Connection", 0.2, (b"upgrade", b"close", b"\xff", b"Upgrade, HTTP2-Settings")),
    (b"Upgrade", 0.15, (b"websocket", b"h2c", b"\xff")),
    (b"Sec-WebSocket-Key", 0.1, (b"x", b"dGhlIHNhbXBsZSBub25jZQ==")),
    (b"X-Forwarded-Proto", 0.1, (b"\xff",)),
    *((b"ce-" + name, 0.15, _ATTRIBUTES) for name in _ATTRIBUTE_NAMES),
)  # fmt: skip # values to draw from: one a line says no more
_BODIES: Final = (
    b"",
    _GOOD,
    _GOOD[:20],
    b"\xff\xfe" + _GOOD.decode().encode("utf-16-le"),
    gzip.compress(_GOOD),
    gzip.compress(_GOOD)[:-6],
    gzip.compress(b"\0" * (20 << 20), 1),
    zlib.compress(b"[" * 400_000),
    b'{"a":"\\ud800"}',
    b"[" * 200_000,
    b'{"kind":' * 3_000,
    b'{"kind":NaN,"members":[1e999,' + b"9" * 5_000 + b"]}",
    b"x" * (300 << 10),
    bytes(range(256)),
)


async def hostile_clients(seed: int) -> LongestStep:
    """Whatever clients send, none gets a 500, none has a traceback written, and the next one is answered."""
    random = Random(seed)  # noqa: S311 - a plan that can be repeated
    runner = web.AppRunner(FakeParts().application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    assert runner.server is not None
    listening = await asyncio.get_running_loop().create_server(Connections(runner.server), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    sent = [_request(random) for _ in range(REQUESTS)]
    try:
        with _no_traceback(), measured() as longest:
            for at in range(0, REQUESTS, AT_ONCE):
                batch = [(_manner(random), bytes_) for bytes_ in sent[at : at + AT_ONCE]]
                answers = await asyncio.gather(*(_exchange(port, manner, bytes_) for manner, bytes_ in batch))
                for (_, bytes_), answer in zip(batch, answers, strict=True):
                    assert answer[9:12] != b"500", (bytes_[:500], answer[:500])
            # Whatever it is still busy with: this one is waited for.
            assert (await _exchange(port, "plain", LIVEZ, patient(20)))[9:12] == b"200"
    finally:
        listening.close()
        await runner.cleanup()
    return longest


@contextmanager
def _no_traceback() -> Iterator[None]:
    """Fail when something is logged as an error, or with a traceback, by us or a library."""
    told: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(self.format(record))

    listener = Listener(logging.WARNING)
    root = logging.getLogger()
    root.addHandler(listener)
    try:
        with capture_logs() as entries:
            yield
    finally:
        root.removeHandler(listener)
    told += [str(entry) for entry in entries if "exc_info" in entry or entry["log_level"] in ("error", "critical")]
    assert not told, told[0][:3_000]


def _request(random: Random) -> bytes:
    method, path = random.choice(_PATHS)
    if random.random() < 0.15:
        method = random.choice(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PRI"])
    ids = (b"change-1", GROUP_IN_PATH.encode())
    address = re.sub(rb"\{[^}]*\}", lambda _: random.choice((*ids, random.choice(_ODD))), path.encode())
    if random.random() < 0.4:
        values = (*_ODD, b"1", b"true", ids[1])
        parts = (random.choice(_NAMES) + b"=" + random.choice(values) for _ in range(random.randrange(1, 5)))
        address += b"?" + b"&".join(parts)
    headers = [(b"Host", random.choice(_HOSTS))]
    headers += [(name, random.choice(values)) for name, share, values in _HEADERS if random.random() < share]
    if random.random() < 0.1:
        headers.append(random.choice(headers))
    body = random.choice(_BODIES) if method in ("POST", "PUT", "DELETE", "PATCH") or random.random() < 0.2 else b""
    way = random.random()
    if way < 0.35:
        headers.append((b"Transfer-Encoding", random.choice((*[b"chunked"] * 6, b"gzip, chunked", b"\xff"))))
        body = _in_chunks(random, body)
    elif way < 0.45:
        lengths = (b"-1", b"9" * 20, b"1e3", b"+5", b"%d" % (len(body) + 50), b"%d" % max(0, len(body) - 9), b"5, 5")
        headers.append((b"Content-Length", random.choice(lengths)))
    elif way < 0.97:
        headers.append((b"Content-Length", b"%d" % len(body)))
    version = random.choice((*[b"HTTP/1.1"] * 12, b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1"))
    line_end = random.choice((*[b"\r\n"] * 15, b"\n", b"\r"))
    lines = [b" ".join((method.encode(), address, version)), *(name + b": " + value for name, value in headers)]
    return line_end.join(lines) + 2 * line_end + body


def _in_chunks(random: Random, body: bytes) -> bytes:
    parts: list[bytes] = []
    size = random.choice((7, 5_000, 1 << 20))
    for at in range(0, min(len(body), 2_000 * size), size):
        chunk = body[at : at + size]
        extension = random.choice((b"", b"", b"", b";x=y", b";" + b"e" * 200, b"\x00"))
        parts += [b"%x" % len(chunk), extension, b"\r\n", chunk, random.choice((b"\r\n", b"\r\n", b"\r\n", b"\n"))]
    ends = (b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"-1\r\n", b"f" * 18 + b"\r\n", b"zz\r\n")
    return b"".join((*parts, random.choice(ends)))


def _manner(random: Random) -> str:
    return random.choices(("plain", "in two", "twice", "ended", "aborted"), (5, 2, 1, 2, 2))[0]


async def _exchange(port: int, manner: str, sent: bytes, seconds: float = READ_SECONDS) -> bytes:
    """Send a request in a manner, and return what is answered in a little while."""
    answer = b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(OSError):
        half = len(sent) // 2 if manner == "in two" else len(sent)
        writer.write(sent[:half])
        await asyncio.sleep(0.005)
        writer.write(sent[half:] + (sent if manner == "twice" else b""))
        if manner == "ended":
            writer.write_eof()
        if manner != "aborted":
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    answer = await reader.read(1 << 16)
    writer.transport.abort()
    return answer
