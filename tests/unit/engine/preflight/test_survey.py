"""Preflight's eyes, on the fake network."""

import asyncio

import pytest

from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Block, NodeError, Said
from orchestrator.engine.preflight.survey import survey
from orchestrator.membership.attempt import Action
from orchestrator.membership.facts import Surveyed
from orchestrator.membership.model import GroupView, Kind, Repair, State
from orchestrator.store.stores.history_store import SqlHistoryStore
from tests.fakes.changes import a_change
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode, Group

GROUP = a_change("add").privacy_group_id


def a_network() -> tuple[FakeNetwork, FakeNode, FakeNode, Fleet]:
    """A group of A, and the node of B, which is asked for."""
    network = FakeNetwork()
    old, new = FakeNode(network, "old", "A"), FakeNode(network, "new", "B")
    network.groups[GROUP] = Group(owner="0xo", participants=("A",))
    network.mine(5)
    return network, old, new, Fleet([ChainWatcher(node, JumpingClock()) for node in (old, new)])


@pytest.mark.parametrize("silent", ["abi", "owns"])
async def test_a_group_that_was_seen_has_a_contract_and_an_owner(
    silent: str, histories: SqlHistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late replica that answers for the newest state has no group yet: it is asked again, and nothing is refused."""
    _, old, _, fleet = a_network()

    async def nothing(*_: str) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(old, silent, nothing)
    with pytest.raises(NodeError) as failure:
        await survey(fleet, a_change("unlock", kind=Kind.UNLOCK_GROUP, members=()), Forecaster(fleet, histories))
    assert failure.value.said is Said.NOT_KNOWN


@pytest.mark.parametrize(
    ("participants", "of_another"), [(("B", "C"), True), (("A", "B"), False), (("C",), False), (("A",), False)]
)
async def test_a_group_of_its_own_with_the_same_id_is_seen(
    participants: tuple[str, ...], of_another: bool, histories: SqlHistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer that is a member of another group of this id, which shares nobody with ours, is told apart."""
    _, _, new, fleet = a_network()
    seen = GroupView(block_number=5, exists=True, participants=participants, state_root="another")

    async def root(_: str, numbers: list[int]) -> tuple[GroupView, ...]:
        return tuple(seen for _ in numbers)

    async def view(group: str, number: int) -> GroupView:
        return seen

    monkeypatch.setattr(new, "roots", root)
    monkeypatch.setattr(new, "view", view)
    surveyed = await survey(fleet, a_change("add", members=("B",), account="0xo"), Forecaster(fleet, histories))
    (member,) = (member for member in surveyed.members if member.enclave_key == "B")
    assert member.of_another_group is of_another


async def test_a_slow_survey_is_not_behind(histories: SqlHistoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that came while a node was asked make the sending node be behind no other one."""
    network, old, _, fleet = a_network()
    owns = old.owns

    async def slowly(group: str, account: str) -> bool:
        network.mine(20)
        for watcher in fleet.watchers:
            await watcher.refresh()
        return bool(await owns(group, account))

    monkeypatch.setattr(old, "owns", slowly)
    change = a_change("add", members=("B",), account="0xo")
    surveyed = await survey(fleet, change, Forecaster(fleet, histories))
    assert surveyed.newest_head == surveyed.head


async def test_a_node_that_is_behind_is_seen(histories: SqlHistoryStore) -> None:
    """A sending node that lacks blocks which two other members' nodes have is behind by as many."""
    network, old, _, _ = a_network()
    third = FakeNode(network, "third", "C")
    old.held_at = 5
    network.mine(20)
    fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in network.nodes])
    for watcher in fleet.watchers:
        await watcher.refresh()
    surveyed = await survey(fleet, a_change("add", members=("B", "C"), account="0xo"), Forecaster(fleet, histories))
    assert third.calls
    assert surveyed.newest_head - surveyed.head == 20


# --- what a repair is about -----------------------------------------------------------------------------------------


async def a_repair(
    histories: SqlHistoryStore, *, odd: bool = True, meanwhile: tuple[Action, ...] = (), writes: int = 0
) -> tuple[Surveyed, int]:
    """A change whose member B lost its addition, surveyed for its repair; and the block of that addition."""
    network, _, new, fleet = a_network()
    network.act(GROUP, Action.LOCK)
    network.mine()
    network.act(GROUP, Action.ADD, ["B"])
    added = network.head.number
    new.diverges_from = added + 1 if odd else None
    for action in meanwhile:
        network.act(GROUP, action, ["B"] if action is not Action.LOCK else [])
    network.write(GROUP, writes)
    network.mine()
    for watcher in fleet.watchers:
        await watcher.refresh()
    repair = Repair(members=("B",), since_block=added)
    change = a_change("add", members=("B",), account="0xo", state=State.PREFLIGHT, repair=repair)
    return await survey(fleet, change, Forecaster(fleet, histories)), added


def of_member(surveyed: Surveyed) -> tuple[bool | None, int | None]:
    (member,) = (member for member in surveyed.members if member.enclave_key == "B")
    return member.agrees, member.moved_block


async def test_a_member_to_repair_is_looked_at_as_it_is_now(histories: SqlHistoryStore) -> None:
    """It differs at a block that both nodes have; it is sent through another, and its addition is forecast."""
    surveyed, _ = await a_repair(histories, writes=1)
    assert of_member(surveyed) == (False, None)
    assert (surveyed.node, surveyed.sender_key) == ("old", "A")
    assert surveyed.forecast is not None


async def test_a_member_that_agrees_is_not_to_be_added(histories: SqlHistoryStore) -> None:
    """There is nothing to forecast of it."""
    surveyed, _ = await a_repair(histories, odd=False)
    assert of_member(surveyed) == (True, None)
    assert surveyed.forecast is None


@pytest.mark.parametrize("meanwhile", [(Action.REMOVE,), (Action.REMOVE, Action.LOCK, Action.ADD)])
async def test_what_somebody_did_to_a_member_is_seen(meanwhile: tuple[Action, ...], histories: SqlHistoryStore) -> None:
    """The newest block in which it came or went after the addition that got lost."""
    surveyed, added = await a_repair(histories, meanwhile=meanwhile)
    assert of_member(surveyed)[1] == added + len(meanwhile)


@pytest.mark.parametrize("fault", ["down", "branch"])
async def test_what_can_not_be_compared_neither_agrees_nor_differs(fault: str, histories: SqlHistoryStore) -> None:
    """A node that does not answer, or that has another block there."""
    network, _, new, fleet = a_network()
    network.act(GROUP, Action.LOCK)
    network.act(GROUP, Action.ADD, ["B"])
    for watcher in fleet.watchers:
        await watcher.refresh()
    change = a_change(
        "add", members=("B",), account="0xo", state=State.PREFLIGHT, repair=Repair(members=("B",), since_block=7)
    )

    async def elsewhere(number: int) -> Block:
        return Block(number=number, block_hash="another", transactions=())

    if fault == "down":
        new.down = True
    else:
        new.block = elsewhere  # type: ignore[method-assign] # of another branch
    surveyed = await survey(fleet, change, Forecaster(fleet, histories))
    assert of_member(surveyed) == (None, None)


async def test_a_silent_websocket_makes_no_node_late(histories: SqlHistoryStore) -> None:
    """What a node's WebSocket did not deliver is asked over HTTP before anybody is called behind."""
    network, old, new, _ = a_network()
    third = FakeNode(network, "third", "C")
    watchers = [ChainWatcher(node, JumpingClock()) for node in (old, new, third)]
    for watcher in watchers:
        await watcher.refresh()
    network.mine(20)
    for watcher in watchers[1:]:
        await watcher.refresh()  # theirs deliver
    fleet = Fleet(watchers)
    seen = await survey(fleet, a_change("add", members=("B",), account="0xo"), Forecaster(fleet, histories))
    assert seen.head == seen.newest_head == network.head.number
