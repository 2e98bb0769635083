"""The engine on emulated networks of every line of Besu that has flexible privacy groups."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.access.callers import Door, anyone
from orchestrator.app.assembly import Engine, assembled
from orchestrator.besu import FlexiblePrivacyGroups, Node, signer_from_key
from orchestrator.besu.transport.http_client import HttpNode, open_session
from orchestrator.config import Config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.engine.intake.requests import parse_request
from orchestrator.membership.model import RESTING, Change, State, Verdict
from tests.fakes.migrated_stores import migrated
from tests.integration.engine.configured import nodes_of
from tests.patience import patient

# A well-known public development key.
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
VERSIONS = ("20.10.4", "21.1.7", "22.4.4", "23.10.3", "24.7.1", "25.4.1")


class Network:
    """A devnet of three members with an engine on it."""

    def __init__(self, devnet: Devnet, engine: Engine) -> None:
        self.devnet = devnet
        self.engine = engine
        self.keys = [node.enclave_key for node in devnet.nodes]
        self._asked = 0

    async def ask(self, kind: str, **data: Any) -> Change:
        """Ask for a change and return it once it rests for good."""
        self._asked += 1
        request = parse_request(f"request-{self._asked}", {"kind": kind, **data})
        change = (await self.engine.intake.submit(request, anyone(Door.HTTP))).change
        async with asyncio.timeout(patient(60)):
            while change.state not in RESTING or change.state is State.QUEUED:
                await asyncio.sleep(0.05)
                found = await self.engine.store.change(change.change_id)
                assert found is not None
                change = found
        return change


@asynccontextmanager
async def network(folder: Path, **options: Any) -> AsyncIterator[Network]:
    config_of_devnet = DevnetConfig(base_port=0, block_period_seconds=0.25, replay_ms_per_transaction=1, **options)
    key_file = folder / "owner.key"
    key_file.write_text(OWNER_KEY)
    key_file.chmod(0o600)
    url = migrated(folder / "store.db")
    stopping = asyncio.Event()
    async with running_devnet(config_of_devnet) as devnet:
        config = Config.model_validate(
            {
                "store": {"url": url},
                "nodes": nodes_of(devnet),
                "accounts": [{"address": OWNER, "key_file": str(key_file)}],
            },
            context={"folder": folder},
        )
        async with assembled(config, stopping) as engine:
            running = asyncio.create_task(engine.supervisor.run())
            try:
                yield Network(devnet, engine)
            finally:
                stopping.set()
                await asyncio.wait_for(running, patient(30))


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_group_lives_its_life_on_each_line(tmp_path: Path, version: str) -> None:
    """On each line a group is created, gets a member, loses it and gets it again, each time proven."""
    async with network(tmp_path, besu_version=version) as net:
        created = await net.ask("create_group", members=net.keys[:2])
        assert created.state is State.SUCCEEDED, created.reason
        group = created.privacy_group_id
        for kind in ("add_members", "remove_members", "add_members"):
            change = await net.ask(kind, privacy_group_id=group, members=net.keys[2:])
            assert change.state is State.SUCCEEDED, (kind, change.reason)
            assert {entry.verdict for entry in change.progress} == {Verdict.IN_SYNC}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_left_lock_is_broken_on_each_line(tmp_path: Path, version: str) -> None:
    """A lock that another client left is broken on request, also where unlock() does not work (before 21.7.4)."""
    async with network(tmp_path, besu_version=version) as net:
        created = await net.ask("create_group", members=net.keys[:2])
        group = created.privacy_group_id
        async with open_session() as session:
            node = Node(HttpNode(session, net.devnet.nodes[0].http_url))
            client = FlexiblePrivacyGroups(node, signer_from_key(OWNER_KEY), net.keys[0])
            await client.lock(group)
            unlocked = await net.ask("unlock_group", privacy_group_id=group)
            assert unlocked.state is State.SUCCEEDED, unlocked.reason
            view = await node.group_view(group)
        assert view is not None
        assert not view.locked


async def test_a_node_that_would_not_receive_the_group_is_not_added(tmp_path: Path) -> None:
    """On 25.5.0 a member whose node is no validator is parked before anything is locked, with the remedy."""
    async with network(tmp_path, besu_version="25.5.0", nodes=3, validators=2) as net:
        created = await net.ask("create_group", members=net.keys[:2])
        assert created.state is State.SUCCEEDED, created.reason
        change = await net.ask("add_members", privacy_group_id=created.privacy_group_id, members=net.keys[2:])
        assert change.state is State.PARKED
        assert change.reason is not None
        assert change.reason.slug == "member_would_not_receive"
        assert await net.engine.store.attempts(change.change_id) == ()


async def test_an_add_with_a_silent_enclave_gives_the_lock_back(tmp_path: Path) -> None:
    """When the new member's enclave goes silent between lock and add, the group is unlocked and the change waits."""
    async with network(tmp_path, besu_version="23.10.3", enclave_timeout_ms=200.0) as net:
        created = await net.ask("create_group", members=net.keys[:2])
        group = created.privacy_group_id
        async with open_session() as session:
            control = HttpNode(session, net.devnet.nodes[0].http_url)
            await control.call("devnet_setEnclave", 3, False)
            node = Node(control)
            request = parse_request(
                "silent",
                {"kind": "add_members", "privacy_group_id": group, "members": net.keys[2:], "deadline_seconds": 15},
            )
            change = (await net.engine.intake.submit(request, anyone(Door.HTTP))).change
            async with asyncio.timeout(patient(60)):
                while change.state is not State.FAILED:
                    await asyncio.sleep(0.05)
                    found = await net.engine.store.change(change.change_id)
                    assert found is not None
                    change = found
            view = await node.group_view(group)
        assert view is not None
        assert not view.locked
        assert set(view.participants) == set(net.keys[:2])
