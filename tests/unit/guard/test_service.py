"""The guard as a service: from a configuration, with its page for operators, its approvals, and what it tells."""

import asyncio
import json
import resource
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.config import Config, load_config
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.guard.service import GuardError, running_guard
from orchestrator.membership.guard.received_bundles import Approval
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.guard.approvals import ApprovalFile, InvalidApprovalsError, read_approvals
from orchestrator.store.guard.decisions import DecisionFile
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.fakes.guarded_network import GuardedNetwork, guarded_network, until
from tests.patience import patient
from tests.unit.guard import hazards

VICTIM = 3
OWNER = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"


def configured(network: GuardedNetwork, folder: Path, guard: str = "") -> Config:
    node = network.devnet.nodes[VICTIM - 1]
    path = folder / "orchestrator.toml"
    path.write_text(
        f"""
[guard]
listen = "127.0.0.1:0"
status = "127.0.0.1:0"
{guard}
[[nodes]]
name = "member3"
http = "{node.http_url}"
enclave = "{node.enclave_url}"
enclave_keys = ["{node.enclave_key}"]
"""
    )
    return load_config(path, {})


async def test_a_configuration_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says when it is ready, refuses what would halt the node, and shows, counts and announces it."""
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(5)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with told:
        async with guarded_network() as network:
            config = configured(network, tmp_path, "use_store = true")
            await asyncio.to_thread(migrate, config.store.url)
            async with running_guard(config) as running:
                assert told.recv(100) == b"READY=1"
                await network.call(1, "devnet_setEnclaveUrl", VICTIM, running.address)
                group = network.group("G")
                payload = await hazards.poisoned(network, VICTIM, group)
                await network.block(network.marker(payload))
                assert not network.halted(VICTIM)
                async with aiohttp.ClientSession() as session:
                    async with session.get(f"{running.status}/decisions") as response:
                        (decision,) = await response.json()
                    async with session.get(f"{running.status}/metrics") as response:
                        metrics = await response.text()
                assert (decision["privacy_group_id"], decision["reason"]) == (group, "block_not_replayable")
                assert decision["owner"] == OWNER
                assert decision["sent_by"] == network.keys[0]
                line = 'orchestrator_guard_decisions_total{outcome="refused",rule="block_not_replayable"} 1.0'
                assert line in metrics
                async with Database(config.store.url) as database:
                    outbox = SqlOutbox(database)
                    async with asyncio.timeout(patient(10)):
                        while not (events := await outbox.after(0, limit=10)):
                            await SqlChangeStore(database, SystemClock()).groups()
                assert [stored.event.type for stored in events] == ["membership.group.guarded.v1"]
            assert told.recv(100) == b"STOPPING=1"


async def test_a_node_without_a_known_enclave_is_told(tmp_path: Path) -> None:
    """The message names the key that is missing."""
    async with guarded_network() as network:
        config = configured(network, tmp_path)
        bare = config.model_copy(update={"nodes": (config.nodes[0].model_copy(update={"enclave": None}),)})
        with pytest.raises(GuardError, match="has no enclave"):
            async with running_guard(bare):
                pass


async def test_what_is_approved_by_the_command_is_taken(tmp_path: Path) -> None:
    """With `asked` an addition is refused, and one of another group taken after `guard approve`, without a restart.

    The configuration may be named before and behind the command.
    """
    async with guarded_network() as network:
        config = configured(network, tmp_path, 'accept = "asked"')
        async with running_guard(config) as running:
            await network.call(1, "devnet_setEnclaveUrl", VICTIM, running.address)
            group = network.group("G")
            arguments = ["guard", "--config", str(tmp_path / "orchestrator.toml"), "approve", group, "--owner", OWNER]
            done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
            assert done.exit_code == 0, done.output
            for one in (group, network.group("another")):
                await network.create(one, 1, 2)
                await network.add(one, VICTIM)
            await until(lambda: network.root(VICTIM, group) is not None)
            assert network.root(VICTIM, network.group("another")) is None
        shown = CliRunner().invoke(
            app, ["guard", "decisions", "--config", str(tmp_path / "orchestrator.toml"), "--json"]
        )
        assert [json.loads(line)["reason"] for line in shown.output.splitlines()] == ["safe", "not_agreed_to"]


async def test_a_strangers_history_that_nobody_confirms_is_not_taken(tmp_path: Path) -> None:
    """By default: whether its replay reaches its roots nobody here can tell. An approval is enough."""
    async with guarded_network() as network:
        config = configured(network, tmp_path)
        stranger, approved = network.group("G"), network.group("H")
        ApprovalFile(config.guard.approvals_file).add(Approval(privacy_group_id=approved, owner=OWNER))
        async with running_guard(config) as running:
            await network.call(1, "devnet_setEnclaveUrl", VICTIM, running.address)
            for group in (stranger, approved):
                await network.create(group, 1, 2)
                await network.add(group, VICTIM)
            await until(lambda: network.root(VICTIM, approved) is not None)
            assert network.root(VICTIM, stranger) is None
        decided = DecisionFile(config.guard.decisions_file).all()
        assert [one.decision.slug for one in decided] == ["roots_not_confirmed", "safe"]


def test_approvals_are_read_strictly(tmp_path: Path) -> None:
    """What is no approval is told with its place, and the file is left as it is."""
    path = tmp_path / "approvals.json"
    file = ApprovalFile(path)
    assert file.approvals() == ()
    first = Approval(privacy_group_id="G", owner=OWNER, members=frozenset({"A", "B"}))
    file.add(first)
    file.add(first)
    file.add(Approval(privacy_group_id="H", owner=OWNER, last_root="0x12"))
    assert [one.privacy_group_id for one in file.approvals()] == ["G", "H"]
    assert read_approvals(path)[0] == first
    for text in ("{", "{}", "[1]", '[{"owner": "x"}]', '[{"privacy_group_id": "G", "owner": "x", "member": []}]'):
        path.write_text(text)
        with pytest.raises(InvalidApprovalsError, match=r"approvals\.json"):
            file.add(first)
        assert path.read_text() == text
    assert [one.privacy_group_id for one in file.approvals()] == ["G", "H"]


async def test_the_command_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """It prints where the node finds its enclave, passes requests, ends with 0 on SIGTERM, and never dumps its keys."""
    async with guarded_network() as network:
        configured(network, tmp_path)
        program = [sys.executable, "-m", "orchestrator", "guard", "--config", str(tmp_path / "orchestrator.toml")]
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=DEVNULL)
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        try:
            assert process.stdout is not None
            async with asyncio.timeout(patient(30)):
                ready = (await process.stdout.readline()).decode().split()
            assert ready[0] == "ready"
            assert resource.prlimit(process.pid, resource.RLIMIT_CORE)[0] == 0
            async with aiohttp.ClientSession() as session, session.get(ready[1] + "/upcheck") as response:
                assert await response.text() == "I'm up!"
            process.terminate()
            async with asyncio.timeout(patient(30)):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
