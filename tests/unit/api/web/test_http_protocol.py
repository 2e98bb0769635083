"""What never becomes a request is answered as everything else is: with a problem document."""

import asyncio
import json
import zlib
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from orchestrator.api.callers.origins import SECURITY_HEADERS
from tests.fakes.http_api import FakeParts, serving
from tests.patience import patient

HOST = b"Host: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(FakeParts()) as url:
        yield int(url.rpartition(":")[2])


async def answered(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(patient(10)):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    return int(head[0].split()[1]), headers, body


@pytest.mark.parametrize(
    ("sent", "status", "slug"),
    [
        (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 9000 + b"\r\n\r\n", 431, "header-too-large"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431, "header-too-large"),
        (b"F@O /livez HTTP/1.1\r\n" + HOST + b"\r\n", 501, "unknown-method"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 GET / HTTP/1.1\r\n\r\n", 501, "unknown-method"),
        (b"GET /livez HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n", 400, "no-http"),
        (b"GET /livez HTTP/1.1\r\n" + HOST + b" : x\r\n\r\n", 400, "no-http"),
        (b"GET /livez SPDY/1.1\r\n" + HOST + b"\r\n", 400, "no-http"),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400, "no-http"),
        (b"GET /livez HTTP/1.0\r\n\r\n", 400, "no-host"),
        (b"POST /v1/changes HTTP/1.1\r\n" + HOST + b"Expect: x\r\n\r\n", 417, "expectation-failed"),
        (b"GET /nothing HTTP/1.1\r\n" + HOST + b"Expect: x\r\n\r\n", 417, "expectation-failed"),
        (b"FOO /livez HTTP/1.1\r\n" + HOST + b"\r\n", None, None),
    ],
)
async def test_what_the_parser_refuses_is_a_problem(
    port: int, sent: bytes, status: int | None, slug: str | None
) -> None:
    """The answer is a problem document that holds none of the bytes that were sent, with the headers of all answers."""
    found, headers, body = await answered(port, sent)
    problem = json.loads(body)
    if status is not None:  # a method that only this interpreter's parser knows is for the router to refuse
        assert (found, problem["type"]) == (status, f"urn:orchestrator:problem:{slug}")
    assert (problem["status"], headers["content-type"].partition(";")[0]) == (found, "application/problem+json")
    assert found >= 400
    assert "b'" not in problem["detail"]
    for name, value in SECURITY_HEADERS.items():
        assert headers[name.lower()] == value


@pytest.mark.parametrize("encoding", ["zstd", "br", "gzip", "deflate", "x-gzip", "gzip, gzip"])
async def test_a_body_that_can_not_be_unpacked_is_a_problem(port: int, encoding: str) -> None:
    """A content encoding that is not read here, or that the body does not have, is told."""
    body = b"{}"
    sent = (
        b"POST /v1/changes HTTP/1.1\r\n" + HOST + b"Idempotency-Key: k\r\nContent-Type: application/json\r\n"
        b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (encoding.encode(), len(body), body)
    )
    found, headers, answer = await answered(port, sent)
    assert headers["content-type"].partition(";")[0] == "application/problem+json"
    assert (found, json.loads(answer)["status"]) in ((415, 415), (400, 400))


async def test_a_body_that_can_be_unpacked_is_read(port: int) -> None:
    """What a client packed as it said is read, and counts as long as it is unpacked."""
    body = zlib.compress(b" " * (300 * 1024))
    sent = (
        b"POST /v1/changes HTTP/1.1\r\n" + HOST + b"Idempotency-Key: k\r\nContent-Type: application/json\r\n"
        b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    found, _, answer = await answered(port, sent)
    assert (found, json.loads(answer)["type"]) == (413, "urn:orchestrator:problem:too-large")


async def test_a_body_that_nobody_reads_and_that_can_not_be_unpacked_is_a_line_in_the_log(port: int) -> None:
    """What an answered request still brings is thrown away; that it can't be unpacked is no defect."""
    head = b"GET /livez HTTP/1.1\r\n" + HOST + b"Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\n"
    with capture_logs() as entries:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        async with asyncio.timeout(patient(10)):
            assert b" 200 " in await reader.readline()
            writer.write(b"no gzip.")
            await reader.read()  # the connection is closed
        writer.close()
    (entry,) = entries
    assert (entry["log_level"], entry["event"]) == ("info", "the rest of a body could not be read")
    assert "exc_info" not in entry


async def test_a_client_that_goes_amid_its_body_is_no_defect(port: int) -> None:
    """A connection that is lost while a body is awaited ends the request, and nothing is logged."""
    head = b"POST /v1/changes HTTP/1.1\r\n" + HOST + b"Idempotency-Key: k\r\nContent-Type: application/json\r\n"
    with capture_logs() as entries:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"Content-Length: 100\r\n\r\n{")
        await asyncio.sleep(0.05)
        writer.transport.abort()
        assert (await answered(port, b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"))[0] == 200
    assert entries == []
