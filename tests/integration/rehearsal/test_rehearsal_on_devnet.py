"""A rehearsal on emulated nodes: what it measures, what it refuses, and that it leaves nothing locked."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.besu import FlexiblePrivacyGroups, HttpNode, Node, open_session, signer_from_key
from orchestrator.cli.rehearsal.report import Rehearsal, as_markdown
from orchestrator.cli.rehearsal.scan import scan
from orchestrator.cli.rehearsal.scratch_history import fill
from orchestrator.cli.verbs.rehearse import rehearsed
from orchestrator.config import Config, load_config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from tests.integration.repair.engine_on_devnet import OWNER, OWNER_KEY
from tests.patience import patient

TRANSACTIONS = 25
REPLAY_MS = 5.0


@dataclass
class Harness:
    """A devnet of three members, and a configuration for it."""

    devnet: Devnet
    config: Config
    nodes: list[Node]

    async def rehearse(self) -> tuple[Rehearsal, bool]:
        return await rehearsed(self.config, self.config.nodes, TRANSACTIONS, 1.0, 1_000, lambda _line: None)

    async def members(self, found: Rehearsal) -> tuple[tuple[str, ...], bool]:
        """Return the scratch group's members, and whether it is locked, as the sender's node shows them."""
        view = await self.nodes[0].group_view(found.privacy_group_id)
        return view.participants, view.locked


@asynccontextmanager
async def harness(directory: Path) -> AsyncIterator[Harness]:
    # Whoever writes in each block must come to it, on a busy machine too.
    period = min(1.0, patient(0.1))
    options = DevnetConfig(base_port=0, block_period_seconds=period, replay_ms_per_transaction=REPLAY_MS)
    async with running_devnet(options) as devnet, open_session() as session:
        with os.fdopen(os.open(directory / "owner.key", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(OWNER_KEY)
        text = f'[store]\nurl = "sqlite:///{directory}/store.db"\n[broker]\nurl = "embedded:"\n'
        for node in devnet.nodes:
            text += (
                f'[[nodes]]\nname = "member{node.number}"\nhttp = "{node.http_url}"\nws = "{node.ws_url}"\n'
                f'enclave_keys = ["{node.enclave_key}"]\n'
            )
        text += f'[[accounts]]\naddress = "{OWNER}"\nkey_file = "owner.key"\n'
        (directory / "orchestrator.toml").write_text(text)
        config = load_config(directory / "orchestrator.toml", {})
        nodes = [Node(HttpNode(session, node.http_url), enclave_key=node.enclave_key) for node in devnet.nodes]
        yield Harness(devnet, config, nodes)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(patient(20)):
        while not check():  # noqa: ASYNC110 - it happens on the devnet
            await asyncio.sleep(0.02)


async def test_a_network_that_is_fit_is_said_to_be(tmp_path: Path) -> None:
    """The member comes and goes, everything is measured, and the group is left unlocked with its first members."""
    async with harness(tmp_path) as on:
        found, refused = await on.rehearse()
        assert (found.troubles, refused, found.fit) == ((), False, True)
        course = found.course
        assert course.transactions == TRANSACTIONS
        assert course.lock_blocks is not None
        assert course.lock_blocks >= 2
        assert course.replay_seconds is not None
        assert course.replay_seconds >= 0.5 * TRANSACTIONS * REPLAY_MS / 1000
        assert course.agreed_blocks == 4
        assert found.scan is not None
        assert (found.scan.account_twice, found.scan.whole) == (0, True)
        assert await on.members(found) == (tuple(node.enclave_key for node in on.devnet.nodes[:2]), False)
        report = as_markdown(found)
        assert "**The network is fit.**" in report
        assert "member3 has replayed a group" in report


async def test_what_the_forecast_refuses_is_not_done(tmp_path: Path) -> None:
    """Where an account sends twice in each block no member is added; the scan counts these blocks."""
    async with harness(tmp_path) as on:
        await on.devnet.call(1, "devnet_publicTraffic", [1, 2])
        found, refused = await on.rehearse()
        assert (refused, found.fit) == (True, False)
        assert "block not replayable" in found.troubles[0]
        assert await on.members(found) == (tuple(node.enclave_key for node in on.devnet.nodes[:2]), False)
        assert not (await on.nodes[2].group_view(found.privacy_group_id)).exists
        await on.devnet.call(1, "devnet_mine", [4])  # so that there are more than are asked for
        seen = await scan(on.nodes[0], days=1.0, most_blocks=4)
        assert (seen.last_block - seen.first_block, seen.whole) == (3, False)
        assert seen.account_twice == 4
        assert seen.newest is not None


async def test_groups_of_the_new_members_node_are_not_put_at_risk(tmp_path: Path) -> None:
    """While another group of its node is written to in the same blocks, the member is not added."""
    async with harness(tmp_path) as on:
        owner = signer_from_key(OWNER_KEY)
        keys = [node.enclave_key for node in on.devnet.nodes]
        other = await FlexiblePrivacyGroups(on.nodes[2], owner, poll_seconds=0.02).create([keys[2], keys[1]])
        written: list[int] = []

        async def write() -> None:
            while True:
                await fill(on.nodes[2], other.privacy_group_id, keys[2], 1, 0, written.append)

        # Each waits for its block before it writes again: together they write in every block.
        busy = [asyncio.create_task(write()) for _ in range(4)]
        await until(lambda: bool(written))
        found, refused = await on.rehearse()
        for writer in busy:
            writer.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        assert (refused, found.fit) == (True, False)
        assert "member3 has other groups" in found.troubles[0]
        assert await on.members(found) == (tuple(keys[:2]), False)
