"""Looking at the other groups of a new member's node, on the fake network."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError, Said
from orchestrator.engine.proof import bystanders
from orchestrator.engine.proof.bystanders import BystanderReader
from orchestrator.membership.attempt import Action
from orchestrator.membership.facts import Bystander, Bystanders
from orchestrator.membership.model import Change, Effect, GroupView, State
from orchestrator.membership.proof.bystanders import was_rolled_back
from orchestrator.membership.reasons.table import Reason
from tests.fakes.changes import a_change
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode, Group
from tests.fakes.surveys import a_plan


class Added:
    """Group g of a and b, to which c was added two blocks after its lock; c is in the group x with b as well."""

    def __init__(self) -> None:
        self.network = FakeNetwork()
        self.nodes = {name: FakeNode(self.network, f"node-{name}", name) for name in "abc"}
        self.network.groups["g"] = Group(owner="0xo", participants=("a", "b"))
        self.network.groups["x"] = Group(owner="0xo", participants=("b", "c"))
        self.network.groups["alone"] = Group(owner="0xo", participants=("c",))
        self.network.mine(2)
        self.network.write("x", 2)
        self.network.write("alone", 2)
        self.network.act("g", Action.LOCK)
        self.network.mine()
        self.network.act("g", Action.ADD, ["c"])
        self.added = self.network.head.number
        self.network.write("x")
        self.network.mine(2)
        self.fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in self.nodes.values()])
        self.reader = BystanderReader(self.fleet, self.known)
        self.asked = 0

    async def known(self) -> Sequence[str]:
        self.asked += 1
        return ["g", "x", "unheard of"]

    async def read(self, last: int | None = None) -> Bystanders:
        for watcher in self.fleet.watchers:
            await watcher.refresh()
        view = GroupView(block_number=self.added, exists=True, participants=("a", "b", "c"))
        effect = Effect(block_number=self.added, block_hash="", view=view)
        return await self.reader.read(self.change(), effect, last if last is not None else self.network.head.number)

    def change(self) -> Change:
        plan = a_plan(to_add=("c",), participants=("a", "b"))
        return a_change("1", group="g", state=State.REPLAYING, members=("c",), plan=plan)

    def falls_back(self, group: str, to: int, until: int | None = None) -> None:
        """Let node c show from the addition on, up to a block or for good, what the group was at a block."""
        shown, node = self.network.groups[group].views[to], self.nodes["c"]
        usual = node._view

        def view(group_id: str, number: int) -> GroupView:
            found = usual(group_id, number)
            fallen = group_id == group and self.added <= number <= (until if until is not None else number)
            return replace(shown, block_number=number) if fallen else found

        node._view = view  # type: ignore[method-assign] # what a replay with a window of one block leaves


def told(found: Bystanders) -> dict[str, Bystander]:
    return {group.privacy_group_id: group for group in found.groups}


async def test_other_groups_are_compared_with_their_other_members() -> None:
    """At the block before the addition and at the proof's end; where nobody else is seen, with what it was."""
    added = Added()
    found = told(await added.read())
    assert set(found) == {"x", "alone"}
    x = found["x"]
    assert (x.node, x.enclave_key, x.block_before) == ("node-c", "c", added.added - 1)
    assert (x.others_before, x.others) == ((x.root_before,), (x.root,))
    assert x.root != x.root_before
    assert (found["alone"].others, found["alone"].root) == ((), found["alone"].root_before)
    assert not any(map(was_rolled_back, found.values()))


@pytest.mark.parametrize("group", ["x", "alone"])
async def test_a_group_that_fell_back_is_found(group: str) -> None:
    """With another member to compare with, and without one by the state that came back."""
    added = Added()
    added.falls_back(group, added.added - 6)
    found = told(await added.read())
    assert [name for name, seen in found.items() if was_rolled_back(seen)] == [group]


async def test_what_the_node_was_not_in_before_is_not_its_to_lose() -> None:
    """A group that was made after the addition, or left before the end, is not looked at."""
    added = Added()
    added.network.groups["late"] = Group(owner="0xo", participants=("b", "c"))
    added.network.act("x", Action.REMOVE, ["c"])
    added.network.mine()
    assert set(told(await added.read())) == {"alone"}


async def test_a_node_that_lists_nothing_is_asked_about_known_groups() -> None:
    """A tenant may not list; the groups that changes were made in are asked for."""
    added = Added()

    async def refused(enclave_keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        raise NodeError(Reason(slug="unauthorized"), Said.REFUSED)

    for node in added.nodes.values():
        node.groups = refused  # type: ignore[method-assign] # a tenant's node
    assert set(told(await added.read())) == {"x"}
    assert added.asked == 1


async def test_proofs_that_end_together_share_their_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read for one proof is not asked for again; and no proof looks at more than its bound."""
    added = Added()
    await added.read()
    before = [node.calls for node in added.nodes.values()]
    await added.read()
    assert [node.calls - calls for node, calls in zip(added.nodes.values(), before, strict=True)] == [1, 1, 1], "heads"
    monkeypatch.setattr(bystanders, "MOST_GROUPS", 1)
    found = await added.read()
    assert (set(told(found)), found.left_out) == ({"alone"}, 1)


async def test_groups_that_others_make_up_push_out_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node can list any number of groups with the new member in them; those that its own node lists are compared."""
    added = Added()
    monkeypatch.setattr(bystanders, "MOST_GROUPS", 3)
    usual = added.nodes["b"].groups

    async def made_up(enclave_keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        return {f"a{number}": ("b", "c") for number in range(10)} | dict(await usual(enclave_keys))

    added.nodes["b"].groups = made_up  # type: ignore[method-assign] # it lists what nobody ever made
    found = await added.read()
    assert (set(told(found)), found.left_out) == ({"x", "alone"}, 9)


async def test_a_witness_that_does_not_answer_is_none() -> None:
    """The new member's own node has to; without it nothing is told, and the proof waits."""
    added = Added()
    await added.read()
    added.reader = BystanderReader(added.fleet, added.known)
    listed = await added.reader._listed(added.network.head.number)
    assert set(listed.members) >= {"g", "x", "alone"}
    added.nodes["b"].down = True
    found = await added.reader.read(
        added.change(),
        Effect(block_number=added.added, block_hash="", view=GroupView(block_number=added.added, exists=True)),
        added.network.head.number,
    )
    assert told(found)["x"].others == ()


@pytest.mark.parametrize("group", ["x", "alone"])
async def test_a_past_that_was_rewritten_is_no_rollback(group: str) -> None:
    """Read late, the proof's last block may show what a replay made of it since: the newest block decides."""
    added = Added()
    last = added.network.head.number
    added.network.mine(3)
    added.falls_back(group, to=2, until=last)
    found = told(await added.read(last))[group]
    assert not was_rolled_back(found)
    again = Added()
    again.network.mine(3)
    again.falls_back(group, to=2)
    assert was_rolled_back(told(await again.read(last))[group]), "one that lasts is"


async def test_a_witness_that_falls_silent_after_a_lie_holds_up_no_proof() -> None:
    """Whoever has a group with the new member could else hold up each of its additions, to groups that it is not in."""
    added = Added()
    last = added.network.head.number
    added.network.mine(3)
    node, usual, asked = added.nodes["b"], added.nodes["b"].roots_of, list[tuple[str, ...]]()

    async def lies(privacy_group_ids: Sequence[str], block_number: int) -> tuple[GroupView, ...]:
        asked.append(tuple(privacy_group_ids))
        if block_number > last:
            raise NodeError(Reason(slug="node_unreachable"), Said.NOT_KNOWN)
        views = await usual(privacy_group_ids, block_number)
        return tuple(replace(view, state_root="0xlie") for view in views) if block_number == last else views

    node.roots_of = lies  # type: ignore[method-assign] # a lie that looks like a rollback, and then no answer
    found = told(await added.read(last))["x"]
    assert (found.others, found.block_number) == (("0xlie",), last), "what it said before counts"
    assert not was_rolled_back(found)
    assert len(asked) == 3


async def test_a_witness_that_shows_no_group_leaves_the_newest_block_to_the_node_itself() -> None:
    """It delivers heads and answers nothing else: what the new member's node shows now decides."""
    added = Added()
    last = added.network.head.number
    added.network.mine(3)
    added.falls_back("x", to=2, until=last)

    async def refuses(privacy_group_ids: Sequence[str], block_number: int) -> tuple[GroupView, ...]:
        raise NodeError(Reason(slug="node_unreachable"), Said.NOT_KNOWN)

    added.nodes["b"].roots_of = refuses  # type: ignore[method-assign] # it keeps to itself what groups were
    found = told(await added.read(last))["x"]
    assert (found.others, found.block_number) == ((), added.network.head.number)
    assert not was_rolled_back(found)


async def test_a_slow_witness_is_asked_about_all_groups_at_once() -> None:
    """Who makes a hundred groups with the new member in them does not make its proofs wait a hundred times."""
    added = Added()
    more = [f"x{number}" for number in range(20)]
    added.network.groups |= {name: Group(owner="0xo", participants=("b", "c")) for name in more}
    for name in more:
        added.network.write(name)
    added.network.mine()
    effect = Effect(block_number=added.network.head.number, block_hash="", view=GroupView(block_number=0, exists=True))
    added.network.mine(2)
    last = added.network.head.number
    added.network.mine(3)
    node, usual, asked = added.nodes["b"], added.nodes["b"].roots_of, list[int]()

    async def lies(privacy_group_ids: Sequence[str], block_number: int) -> tuple[GroupView, ...]:
        asked.append(block_number)
        views = await usual(privacy_group_ids, block_number)
        return tuple(replace(view, state_root="0xlie") for view in views) if block_number >= last else views

    node.roots_of = lies  # type: ignore[method-assign] # each of its groups looks rolled back
    for watcher in added.fleet.watchers:
        await watcher.refresh()
    found = told(await added.reader.read(added.change(), effect, last))
    assert set(more) <= set(found)
    assert sorted(asked) == [effect.block_number - 1, last, added.network.head.number]


async def test_a_witness_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tries and single questions it may take time for: its groups are of no concern to this one."""
    added = Added()
    monkeypatch.setattr(bystanders, "WITNESS_SECONDS", 0.01)

    async def hangs(privacy_group_ids: Sequence[str], block_number: int) -> tuple[GroupView, ...]:
        await asyncio.Event().wait()
        raise AssertionError

    added.nodes["b"].roots_of = hangs  # type: ignore[method-assign] # it delivers heads and answers nothing else
    async with asyncio.timeout(5):
        assert told(await added.read())["x"].others == ()


async def test_who_waits_behind_a_question_that_fails_does_not_ask_again() -> None:
    """A node that hangs costs twenty proofs that end together one time-out, not one after the other; later ones ask."""
    added = Added()
    node, asked, over = added.nodes["c"], list[int](), asyncio.Event()
    usual = node.roots_of

    async def hangs(privacy_group_ids: Sequence[str], block_number: int) -> tuple[GroupView, ...]:
        asked.append(block_number)
        await over.wait()
        raise NodeError(Reason(slug="node_unreachable"), Said.NOT_KNOWN)

    node.roots_of = hangs  # type: ignore[method-assign] # it takes connections and answers nothing
    reads = [asyncio.create_task(added.read()) for _ in range(20)]
    for _ in range(100):
        await asyncio.sleep(0)
    over.set()
    failures = await asyncio.gather(*reads, return_exceptions=True)
    assert {type(failure) for failure in failures} == {NodeError}
    assert len(asked) == len(set(asked)), "each block once"
    node.roots_of = usual  # type: ignore[method-assign] # it answers again
    assert set(told(await added.read())) == {"x", "alone"}


async def test_a_group_that_is_well_is_compared_once_for_all_proofs() -> None:
    """Of the same span; one that looks rolled back, or that nobody else showed, is looked at by each."""
    added = Added()
    first, second = told(await added.read()), told(await added.read())
    assert second["x"] is first["x"]
    assert second["alone"] is not first["alone"]
    fallen = Added()
    fallen.falls_back("x", fallen.added - 6)
    first, second = told(await fallen.read()), told(await fallen.read())
    assert second["x"] == first["x"]
    assert second["x"] is not first["x"]


async def test_a_node_that_does_not_list_its_groups_is_waited_for_by_its_own_proofs_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others' proofs go on after a moment, and look at the groups that are known; the new member's own node is waited
    for, since what it alone lists would not be compared."""
    monkeypatch.setattr(bystanders, "LOOK_SECONDS", 0.01)
    added = Added()
    node, answers = added.nodes["b"], asyncio.Event()
    usual = node.groups

    async def late(enclave_keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        await answers.wait()
        return await usual(enclave_keys)

    node.groups = late  # type: ignore[method-assign] # it answers everything but this
    assert set(told(await asyncio.wait_for(added.read(), 5))) == {"x", "alone"}
    own = Added()
    node, usual = own.nodes["c"], own.nodes["c"].groups
    node.groups = late  # type: ignore[method-assign] # a node that is late for a while
    reading = asyncio.create_task(own.read())
    await asyncio.sleep(0.1)
    assert not reading.done()
    answers.set()
    assert set(told(await reading)) == {"x", "alone"}
