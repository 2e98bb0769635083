"""Additions that nobody asked for, told within a block, on a devnet: who refused them, who executed them."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from orchestrator.besu.transport.http_client import open_session
from orchestrator.engine.blocks import unexpected_additions
from orchestrator.engine.blocks.addition_watch import AdditionWatch
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.membership.damage.unextendable import SeenAddition, WatchTally
from orchestrator.membership.news.status import EventType, StatusEvent
from tests.fakes.guarded_network import OTHER_KEY, GuardedNetwork, fleet_of, guarded_network


class Record:
    """What was told, and which additions were seen."""

    def __init__(self) -> None:
        self.told: list[StatusEvent] = []
        self.seen: dict[str, SeenAddition] = {}
        self.ours = False

    async def groups(self, *, limit: int = 10_000) -> tuple[str, ...]:  # noqa: ARG002 - as the port names it
        return ()

    async def is_ours(self, pmt_hash: str) -> bool:
        return self.ours and bool(pmt_hash)

    async def announce(self, events: Sequence[StatusEvent]) -> None:
        self.told += events

    async def first_additions(self, additions: Collection[str]) -> dict[str, SeenAddition]:
        return {bytes_: self.seen[bytes_] for bytes_ in additions if bytes_ in self.seen}


class Watched:
    """The watch over additions on a devnet with four members' nodes."""

    def __init__(self, network: GuardedNetwork, fleet: Fleet) -> None:
        self.network = network
        self.record = Record()
        self._fleet = fleet
        self._watch = AdditionWatch(fleet, self.record, self.record)

    async def mined(self, payload: bytes) -> list[StatusEvent]:
        """Mine an addition's marker and return what is told of it."""
        marker = self.network.marker(payload)
        number = await self.network.block(marker)
        seen = SeenAddition(
            addition="0x" + payload.hex(),
            transaction_hash="0x" + marker.hash.hex(),
            sender=marker.sender,
            block_number=number,
        )
        for watcher in self._fleet.watchers:
            await watcher.refresh()
        self.record.told.clear()
        await self._watch.look(WatchTally(), (seen,))
        self.record.seen.setdefault(seen.addition, seen)
        return list(self.record.told)


@asynccontextmanager
async def watching() -> AsyncIterator[Watched]:
    async with guarded_network(enclave_http=False) as network, open_session() as session:
        yield Watched(network, fleet_of(network, session))


async def test_an_addition_by_its_owner_is_expected() -> None:
    """Every member executes it alike, whoever made it; a stranger's, that nobody here has, is nobody's business."""
    async with watching() as watched:
        network, group = watched.network, watched.network.group("G")
        await network.create(group, 1, 2)
        await network.lock(group)
        await network.block()
        assert await watched.mined(await network.distribute(network.addition(3), group)) == []
        assert await watched.mined(b"\x07" * 64) == []


async def test_a_marker_that_names_a_transaction_as_a_history_is_told_with_who_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Members' nodes misread it and stand before it; which transaction it names is found in the blocks before."""
    monkeypatch.setattr(unexpected_additions, "IMPORT_SECONDS", 0.2)
    async with watching() as watched:
        network, group = watched.network, watched.network.group("G")
        await network.create(group, 1, 2)
        key = await network.distribute(b"\x01", group, to="0x" + "11" * 20)
        marker = network.marker(key)
        await network.block(marker)
        (told,) = await watched.mined(b"\x07" * 32 + key)
        assert (told.type, told.privacy_group_id) == (EventType.GROUP_ADDITION_UNEXPECTED, "")
        assert (told.data["names"], told.data["standing"]) == ("0x" + marker.hash.hex(), ["member1", "member2"])
        assert told.data["cure"] == []


async def test_a_stale_addition_is_told_with_who_executed_it_and_the_cure() -> None:
    """Its marker was mined after the unlock: sender and newcomer execute what the other member refuses."""
    async with watching() as watched:
        network, group = watched.network, watched.network.group("G")
        await network.create(group, 1, 2)
        await network.lock(group)
        await network.block()
        payload = await network.distribute(network.addition(3), group)
        await network.unlock(group, 2)
        await network.write(group, 2, key=OTHER_KEY)
        (told,) = await watched.mined(payload)
        assert network.root(1, group) == network.root(3, group) != network.root(2, group)
        assert (told.type, told.privacy_group_id) == (EventType.GROUP_ADDITION_UNEXPECTED, group)
        assert (told.data["refused_by"], told.data["executed_by"]) == (["member2"], ["member1", "member3"])
        assert told.data["cure"] == [network.keys[0], network.keys[2]]
        assert told.data["through"] == "member2"
        # The copy of it is told as that, and only so.
        (again,) = await watched.mined(payload)
        assert again.type is EventType.GROUP_ADDITION_REPEATED


@pytest.mark.parametrize("members", [(1, 2, 4), (1, 4)])
async def test_an_honest_addition_that_a_member_refuses_is_no_reason_to_cure_the_others(
    members: tuple[int, ...],
) -> None:
    """An old member had lost the lock: the others and the newcomer execute the addition, and nobody is removed."""
    async with watching() as watched:
        network, group = watched.network, watched.network.group("G")
        await network.create(group, *members)
        await network.call(1, "devnet_missNextTransaction", 4, group)
        await network.lock(group)
        await network.block()
        (told,) = await watched.mined(await network.distribute(network.addition(3), group))
        assert told.data["refused_by"] == ["member4"]
        assert told.data["executed_by"] == [f"member{number}" for number in sorted({*members, 3} - {4})]
        assert (told.privacy_group_id, told.data["affected"], told.data["cure"]) == ("", [], [])


@pytest.mark.parametrize("members", [(1, 2), (1, 2, 4)])
async def test_an_addition_that_all_refuse_is_told_as_that(members: tuple[int, ...]) -> None:
    """The group was not locked: nobody's state changed, and the newcomer's node has the history all the same."""
    async with watching() as watched:
        network, group = watched.network, watched.network.group("G")
        await network.create(group, *members)
        (told,) = await watched.mined(await network.distribute(network.addition(3), group))
        refused = told.data["refused_by"]
        assert isinstance(refused, list)
        assert {f"member{number}" for number in members} <= set(refused)
        assert (told.privacy_group_id, told.data["executed_by"], told.data["affected"]) == ("", [], [])


async def test_our_own_addition_that_all_refuse_is_its_changes_business() -> None:
    """A reorganisation can let it be mined where its lock is not: its change sees that, and nobody is to act on it."""
    async with watching() as watched:
        network, group = watched.network, watched.network.group("G")
        await network.create(group, 1, 2)
        watched.record.ours = True
        assert await watched.mined(await network.distribute(network.addition(3), group)) == []
