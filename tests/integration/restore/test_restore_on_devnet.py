"""A store that was set back to a backup, on a chain that went on: reconciled from it, and nothing is done twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.cli.verbs.backup import backup, restore
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.membership.model import Change, State
from tests.integration.repair.engine_on_devnet import Running, running_on

BLOCK_SECONDS = 0.1


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    config = DevnetConfig(base_port=0, block_period_seconds=BLOCK_SECONDS, replay_ms_per_transaction=0)
    async with running_devnet(config) as devnet:
        yield devnet


class Network:
    """A devnet that goes on while the daemon's store is set back."""

    def __init__(self, devnet: Devnet, folder: Path) -> None:
        self.devnet = devnet
        self.folder = folder
        self.config = folder / "orchestrator.toml"

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Running]:
        async with running_on(self.devnet, self.folder) as run:
            yield run

    async def backed_up(self) -> None:
        await asyncio.to_thread(backup, self.folder / "backup.db", self.config)

    async def restored(self) -> None:
        await asyncio.to_thread(restore, self.folder / "backup.db", self.config)


async def done(run: Running, name: str, kind: str, members: list[str], group: str | None = None) -> Change:
    change = await run.at_rest((await run.ask(name, kind, members, group)).change_id)
    assert change.state is State.SUCCEEDED, change.reason
    return change


async def used_nonces(run: Running, change: Change) -> int:
    """How many transactions of the group its owner sent, as a node counts them."""
    return await run.engine.fleet.watchers[0].node.private_nonce(change.privacy_group_id, change.account)


async def test_what_was_done_after_the_backup_is_not_done_again(devnet: Devnet, tmp_path: Path) -> None:
    """Of an unfinished addition that was finished after the backup nothing is sent again; one undone since waits for
    a person; requests of later find the group as it is, and places of events go on beyond all that were given out.
    """
    network = Network(devnet, tmp_path)
    async with network.engine() as run:
        kept = await done(run, "r1", "create_group", run.keys[:2])
        undone = await done(run, "r2", "create_group", run.keys[:2])
        await devnet.call(1, "devnet_setBlockPeriod", [0])  # without blocks nothing ends before it is backed up
        addition = await run.ask("r3", "add_members", [run.keys[2]], kept.privacy_group_id)
        second = await run.ask("r4", "add_members", [run.keys[2]], undone.privacy_group_id)
        await network.backed_up()
        assert not (await run.engine.store.change(addition.change_id) or addition).ended
        await devnet.call(1, "devnet_setBlockPeriod", [BLOCK_SECONDS])
        for change in (addition, second):
            assert (await run.at_rest(change.change_id)).state is State.SUCCEEDED
        await done(run, "r5", "remove_members", [run.keys[2]], undone.privacy_group_id)
        before = await used_nonces(run, kept), await used_nonces(run, undone)
        newest = await run.engine.outbox.last_position()
        counts = {e.event.privacy_group_id: e.sequence for e in await run.engine.outbox.after(0, limit=1000)}
    await network.restored()
    async with network.engine() as run:
        assert (await run.at_rest(addition.change_id)).state is State.SUCCEEDED
        waiting = await run.at_rest(second.change_id)
        assert waiting.state is State.PARKED
        assert waiting.reason is not None
        assert waiting.reason.slug == "store_restored"
        assert (await used_nonces(run, kept), await used_nonces(run, undone)) == before
        assert set(await run.members(kept.privacy_group_id)) == set(run.keys)
        assert set(await run.members(undone.privacy_group_id)) == set(run.keys[:2])
        later = await run.engine.outbox.after(newest, limit=1000)
        assert later
        assert all(event.sequence > counts[event.event.privacy_group_id] for event in later)
        assert await run.engine.outbox.deleted_through() > newest
        assert (await run.retry(second.change_id)).state is State.SUCCEEDED
        assert set(await run.members(undone.privacy_group_id)) == set(run.keys)
        await done(run, "r6", "remove_members", [run.keys[2]], kept.privacy_group_id)
        assert set(await run.members(kept.privacy_group_id)) == set(run.keys[:2])


async def test_changes_that_a_store_forgot_harm_no_group(devnet: Devnet, tmp_path: Path) -> None:
    """Two changes of after the backup are unknown to the restored store, and its next ones come out right all the same;
    what was asked for before the backup and never touched since just goes on.
    """
    network = Network(devnet, tmp_path)
    async with network.engine() as run:
        group = await done(run, "r1", "create_group", run.keys[:2])
        other = await done(run, "r2", "create_group", run.keys[:2])
        await network.backed_up()
        await done(run, "r3", "add_members", [run.keys[2]], group.privacy_group_id)
        await done(run, "r4", "remove_members", [run.keys[1]], group.privacy_group_id)
    await network.restored()
    async with network.engine() as run:
        assert await run.engine.store.count() == 2
        again = await done(run, "r3", "add_members", [run.keys[2]], group.privacy_group_id)
        assert await run.engine.store.attempts(again.change_id) == ()
        assert set(await run.members(group.privacy_group_id)) == {run.keys[0], run.keys[2]}
        await done(run, "r5", "add_members", [run.keys[2]], other.privacy_group_id)
        assert set(await run.members(other.privacy_group_id)) == set(run.keys)
