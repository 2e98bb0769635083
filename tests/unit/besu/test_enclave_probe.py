"""Asking an enclave whether it is up, over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from orchestrator.besu.enclave_probe import AGE_SECONDS, EnclaveProbe
from tests.servers.ports import free_port


@asynccontextmanager
async def an_enclave(statuses: list[int]) -> AsyncIterator[str]:
    """An enclave that answers its checks with these statuses, the last one for ever; yields its address."""

    async def upcheck(_: web.Request) -> web.Response:
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        headers = {"Location": "http://" + "a" * 70 + "/"} if status == 302 else {}
        return web.Response(status=status, text="I'm up!", headers=headers)

    application = web.Application()
    application.router.add_get("/upcheck", upcheck)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


async def test_an_enclave_that_is_up_is_no_trouble() -> None:
    """Status 200 is all that counts."""
    async with an_enclave([200]) as url, aiohttp.ClientSession() as session:
        assert await EnclaveProbe(session, url).trouble() is None


async def test_an_enclave_that_is_down_is_named_with_its_address() -> None:
    """A person has to know where nobody answered."""
    url = f"http://127.0.0.1:{free_port()}"
    async with aiohttp.ClientSession() as session:
        trouble = await EnclaveProbe(session, url).trouble()
    assert trouble is not None
    assert url in trouble
    assert "does not answer" in trouble


async def test_a_redirect_is_not_followed() -> None:
    """Where an answer points is asked by nobody; a name that no resolver takes ended the look with an exception."""
    async with an_enclave([302]) as url, aiohttp.ClientSession() as session:
        trouble = await EnclaveProbe(session, url).trouble()
    assert trouble is not None
    assert "HTTP status 302" in trouble


async def test_an_enclave_that_answers_otherwise_is_no_better() -> None:
    """A proxy before an enclave that is gone answers, too."""
    async with an_enclave([503]) as url, aiohttp.ClientSession() as session:
        trouble = await EnclaveProbe(session, url).trouble()
    assert trouble is not None
    assert "503" in trouble


async def test_an_answer_is_good_for_a_moment_only() -> None:
    """Lanes that look before the same block ask once; the next block asks again."""
    now = 0.0
    async with an_enclave([200, 503, 200]) as url, aiohttp.ClientSession() as session:
        probe = EnclaveProbe(session, url, now=lambda: now)
        assert [await probe.trouble() for _ in range(5)] == [None] * 5
        now += AGE_SECONDS + 0.1
        assert await probe.trouble() is not None
        assert await probe.trouble() is not None
        now += AGE_SECONDS + 0.1
        assert await probe.trouble() is None
