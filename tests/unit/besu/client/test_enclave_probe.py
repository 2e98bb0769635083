"""Asking an enclave whether it is up, over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from orchestrator.besu.client.enclave_probe import AGE_SECONDS, MAX_KEYS_BYTES, EnclaveProbe
from orchestrator.devnet.errors import RpcError
from tests.fakes.guarded_network import guarded_network
from tests.servers.ports import free_port

_ELSEWHERE = {"Location": "http://" + "a" * 70 + "/"}


@asynccontextmanager
async def an_enclave(statuses: list[int], listed: str | None = None) -> AsyncIterator[str]:
    """An enclave that answers its checks with these statuses, the last one for ever; yields its address.

    Its list of known keys is as given, or not there.
    """

    async def upcheck(_: web.Request) -> web.Response:
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        return web.Response(status=status, text="I'm up!", headers=_ELSEWHERE if status == 302 else {})

    async def party_keys(request: web.Request) -> web.StreamResponse:
        if listed is None:
            return web.Response(status=302 if statuses == [302] else 404, headers=_ELSEWHERE)
        answer = web.StreamResponse()
        await answer.prepare(request)
        for start in range(0, len(listed), 40_000):  # as it may come in: piece after piece
            await answer.write(listed[start : start + 40_000].encode())
            await asyncio.sleep(0)
        return answer

    application = web.Application()
    application.router.add_get("/upcheck", upcheck)
    application.router.add_get("/partyinfo/keys", party_keys)
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
        keys = await EnclaveProbe(session, url).known_keys()
    assert trouble is not None
    assert "HTTP status 302" in trouble
    assert keys is None


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


async def test_tessera_lists_the_keys_that_it_knows_a_host_of() -> None:
    """One that was killed is missing after a failed send, and there again after its return; Orion tells none."""
    async with guarded_network(enclave="tessera", enclaves={4: "orion"}, enclave_meets_ms=0) as network:
        first, second, last = (network.devnet.nodes[number].enclave_url for number in (0, 1, 3))
        group = network.group("G")
        await network.create(group, 1, 2)
        await network.call(1, "devnet_setEnclave", 2, "killed")
        async with aiohttp.ClientSession() as session:

            async def known(url: str) -> frozenset[str] | None:
                return await EnclaveProbe(session, url).known_keys()

            assert await EnclaveProbe(session, second).trouble() is not None
            assert await known(second) is None
            assert await known(last) is None
            with pytest.raises(RpcError):
                await network.distribute(b"x", group, to="0x" + "11" * 20)
            assert await known(first) == frozenset(network.keys) - {network.keys[1]}
            await network.call(1, "devnet_setEnclave", 2, "up")
            assert await EnclaveProbe(session, second).trouble() is None
            assert await known(first) == frozenset(network.keys)


@pytest.mark.parametrize("listed", [None, "", "[]", '{"keys": {}}', '{"keys": [1]}', '{"keys": []}', "[" * 100_000])
async def test_a_list_that_is_none_says_nothing(listed: str | None) -> None:
    """Whatever else answers there, no key counts as unknown for it."""
    async with an_enclave([200], listed) as url, aiohttp.ClientSession() as session:
        assert await EnclaveProbe(session, url).known_keys() is None


async def test_a_long_list_is_read_to_its_end() -> None:
    """It comes in many pieces; with the first one alone no key of a large network would be known."""
    keys = [f"{number:044}" for number in range(10_000)]
    listed = json.dumps({"keys": [{"key": key} for key in keys]})
    async with an_enclave([200], listed) as url, aiohttp.ClientSession() as session:
        assert await EnclaveProbe(session, url).known_keys() == frozenset(keys)
    async with an_enclave([200], listed + " " * MAX_KEYS_BYTES) as url, aiohttp.ClientSession() as session:
        assert await EnclaveProbe(session, url).known_keys() is None


async def test_the_list_may_have_another_address() -> None:
    """Tessera serves clients and third parties on different ports."""
    listing = an_enclave([503], '{"keys": [{"key": "k"}]}')
    async with an_enclave([200]) as url, listing as parties, aiohttp.ClientSession() as session:
        probe = EnclaveProbe(session, url, parties_url=parties)
        assert await probe.trouble() is None
        assert await probe.known_keys() == frozenset({"k"})
