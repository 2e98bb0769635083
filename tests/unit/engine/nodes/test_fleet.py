"""Through which node a group is changed, while some hang."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.engine.nodes import fleet as fleet_module
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head, NodeError
from orchestrator.membership.model import GroupView
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode, Group

GROUP = "group"
SECONDS = 5.0


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@pytest.fixture
def fleet(network: FakeNetwork, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Nodes c, a and b, of which c hangs and is asked first."""
    monkeypatch.setattr(fleet_module, "LOOK_SECONDS", 0.02)
    nodes = [FakeNode(network, name, name.upper()) for name in "cab"]
    monkeypatch.setattr(nodes[0], "roots", hanging)
    return Fleet([ChainWatcher(node, JumpingClock()) for node in nodes])


async def hanging(_: str, __: Sequence[int]) -> tuple[GroupView, ...]:
    await asyncio.Event().wait()
    raise AssertionError("it was cancelled")


async def known_heads(network: FakeNetwork, fleet: Fleet) -> None:
    network.mine(5)
    for watcher in fleet.watchers:
        await watcher.refresh()


async def test_a_creation_does_not_wait_for_a_node_that_shall_not_be_in(network: FakeNetwork, fleet: Fleet) -> None:
    """A node that hangs and is to be no member of a new group is not waited for."""
    await known_heads(network, fleet)
    async with asyncio.timeout(SECONDS):
        sender = await fleet.sender_for(GROUP, ["A", "B"], ())
    assert sender.watcher.node.name in "ab"


async def test_a_group_that_another_node_has_does_not_wait(network: FakeNetwork, fleet: Fleet) -> None:
    """Once a member's node shows the group, the others are waited for no longer than a moment."""
    network.groups[GROUP] = Group(owner="0xo", participants=("B",))
    await known_heads(network, fleet)
    async with asyncio.timeout(SECONDS):
        sender = await fleet.sender_for(GROUP, (), ())
    assert sender.watcher.node.name == "b"


async def test_who_may_have_the_group_is_waited_for(network: FakeNetwork, fleet: Fleet) -> None:
    """While only a member that is to leave shows the group, a node that has not answered may be one that stays."""
    network.groups[GROUP] = Group(owner="0xo", participants=("B", "C"))
    await known_heads(network, fleet)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await fleet.sender_for(GROUP, (), ["B"])


@pytest.mark.parametrize(
    ("heads", "silent", "newest"),
    [
        ({"a": 9, "b": 9, "c": 99}, "", "a"),  # c alone says so
        ({"a": 9, "b": 7, "c": 7}, "bc", "a"),  # the others do not answer: their heads are old
        ({"a": 9, "b": 7}, "", "a"),  # one may overstate, or the other be behind
        ({"a": 9}, "a", "a"),
    ],
)
def test_the_newest_node_is_one_that_is_believed(heads: dict[str, int], silent: str, newest: str) -> None:
    """The node to read the newest blocks from answers, and where there are three, another one confirms its head."""
    network = FakeNetwork()
    watchers = [ChainWatcher(FakeNode(network, name, name), JumpingClock()) for name in heads]
    for watcher in watchers:
        name = watcher.node.name
        watcher.head = Head(number=heads[name], block_hash="", parent_hash="")
        watcher.silent = name in silent
    assert Fleet(watchers).newest().node.name == newest


async def test_a_member_that_is_to_leave_is_no_sender_while_others_do_not_answer(network: FakeNetwork) -> None:
    """A removal waits for the nodes of those that stay: that they do not answer does not make the group be empty."""
    stays, leaves = FakeNode(network, "stays", "A"), FakeNode(network, "leaves", "B")
    network.groups[GROUP] = Group(owner="0xo", participants=("A", "B"))
    fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in (stays, leaves)])
    await known_heads(network, fleet)
    stays.down = True
    with pytest.raises(NodeError, match="stays"):
        await fleet.sender_for(GROUP, (), ["B"])


class ClaimingNode(FakeNode):
    """Shows every group as one of its own, and a head that nobody has."""

    claimed: tuple[str, ...]

    async def head(self) -> Head:
        return replace(await super().head(), number=999)

    async def view(self, _: str, block_number: int) -> GroupView:
        return GroupView(block_number=block_number, exists=True, participants=self.claimed)

    async def roots(self, _: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        return tuple(GroupView(block_number=number, exists=True) for number in block_numbers)


@pytest.fixture
def claimed(network: FakeNetwork) -> Fleet:
    """Node l, which is asked first and lies, and nodes a and b, which have the group."""
    liar = ClaimingNode(network, "l", "L")
    liar.claimed = ("L", "A", "B")
    network.groups[GROUP] = Group(owner="0xo", participants=("A", "B"))
    nodes = (liar, FakeNode(network, "a", "A"), FakeNode(network, "b", "B"))
    return Fleet([ChainWatcher(node, JumpingClock()) for node in nodes])


@pytest.mark.parametrize("claimed_members", [("L",), ("L", "A", "B")])
async def test_a_group_is_not_changed_through_who_only_says_that_it_has_it(
    network: FakeNetwork, claimed: Fleet, claimed_members: tuple[str, ...]
) -> None:
    """A node that shows another's group as its own, at a head above all, is not believed against its members' nodes."""
    liar = claimed.watchers[0].node
    assert isinstance(liar, ClaimingNode)
    liar.claimed = claimed_members
    await known_heads(network, claimed)
    sender = await claimed.sender_for(GROUP, (), ())
    assert (sender.watcher.node.name, sender.view.participants) == ("a", ("A", "B"))


@pytest.mark.parametrize("asked_before", [True, False])
async def test_while_a_member_is_slow_no_stranger_is_believed(
    network: FakeNetwork, claimed: Fleet, monkeypatch: pytest.MonkeyPatch, asked_before: bool
) -> None:
    """A node that shows another's group as its own does not get its changes by answering first: they would fail."""
    monkeypatch.setattr(fleet_module, "LOOK_SECONDS", 0.02)
    network.groups[GROUP].participants = ("A",)
    liar, member, _ = (watcher.node for watcher in claimed.watchers)
    assert isinstance(liar, ClaimingNode)
    assert isinstance(member, FakeNode)
    await known_heads(network, claimed)
    if asked_before:
        liar.claimed = ("A",)
        await claimed.sender_for(GROUP, (), ())
    else:
        claimed.remember_members(GROUP, ["A"])
    liar.claimed = ("L",)
    usual, late = member.root_if_any, 0.2

    async def slow(group: str, number: int) -> GroupView:
        await asyncio.sleep(late)
        return await usual(group, number)

    monkeypatch.setattr(member, "root_if_any", slow)
    whole = member.view

    async def slow_view(group: str, number: int) -> GroupView:
        await asyncio.sleep(late)
        return await whole(group, number)

    monkeypatch.setattr(member, "view", slow_view)
    async with asyncio.timeout(SECONDS):
        assert (await claimed.sender_for(GROUP, (), ())).watcher.node is member
    member.down = True
    with pytest.raises(NodeError):
        await claimed.sender_for(GROUP, (), ())


async def test_who_came_into_a_group_since_it_was_seen_last_is_sent_through(network: FakeNetwork) -> None:
    """Others may change members: a new one is believed when all that were members answer, whoever else does not."""
    nodes = [FakeNode(network, key.lower(), key) for key in "ABC"]
    nodes[2].down = True
    network.groups[GROUP] = Group(owner="0xo", participants=("B",))
    fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in nodes])
    network.mine(5)
    for watcher in fleet.watchers[:2]:
        await watcher.refresh()
    fleet.remember_members(GROUP, ["A"])
    assert (await fleet.sender_for(GROUP, (), ())).watcher.node.name == "b"
    assert fleet.knows(GROUP)


async def test_who_shall_not_be_in_a_new_group_does_not_say_that_there_is_one(
    network: FakeNetwork, claimed: Fleet
) -> None:
    """A node that is to be no member of a new group can't keep it from being made by showing one of that id."""
    await known_heads(network, claimed)
    sender = await claimed.sender_for("new", ["A", "B"], ())
    assert (sender.watcher.node.name, sender.view.exists) == ("a", False)


async def test_who_is_behind_does_not_speak_against_a_newer_member(network: FakeNetwork) -> None:
    """A member's node that does not have the block yet in which another came in is not preferred to that one."""
    old, new = FakeNode(network, "old", "A"), FakeNode(network, "new", "B")
    network.groups[GROUP] = Group(owner="0xo", participants=("A",))
    network.mine(2)
    old.held_at = network.head.number
    network.groups[GROUP].participants = ("A", "B")
    fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in (old, new)])
    await known_heads(network, fleet)
    assert (await fleet.sender_for(GROUP, (), ())).watcher.node.name == "new"
