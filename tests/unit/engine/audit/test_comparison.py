"""One audit on the fake network."""

import json
from dataclasses import replace

import pytest

from orchestrator.engine.audit.comparison import AuditReport, audit
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head
from orchestrator.membership.attempt import Action
from orchestrator.membership.model import GroupView, Verdict
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode, Group


class Members:
    """Nodes a, b, c … with groups of all of them."""

    def __init__(self, count: int = 3, groups: int = 1) -> None:
        self.network = FakeNetwork()
        self.nodes = [FakeNode(self.network, f"node{number}", f"key{number}") for number in range(count)]
        self.keys = tuple(f"key{number}" for number in range(count))
        self.network.mine(3)
        for number in range(groups):
            self.network.groups[f"g{number:04}"] = Group(owner="0xo", participants=self.keys)
        self.network.mine(10)
        self.fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in self.nodes])

    async def audit(self, **how: object) -> AuditReport:
        return await audit(self.fleet, (), **how)  # type: ignore[arg-type] # keywords of the test


async def test_members_that_agree_cost_a_call_each() -> None:
    """When all agree nothing is reported, and a group costs one call for each of its members."""
    members = Members(3, groups=10)
    report = await members.audit()
    assert not report.differing
    assert {len(comparison.compared) for comparison in report.comparisons} == {3}
    assert report.calls == 3 * 10 + 9


async def test_a_thousand_groups_with_five_members_fit_into_six_thousand_calls() -> None:
    """The largest deployment that is promised is audited whole."""
    members = Members(5, groups=1000)
    members.nodes[3].diverges_from = 12
    report = await members.audit()
    assert report.calls <= 6000
    assert len(report.comparisons) + len(report.left_out) == 1000
    members.nodes[3].diverges_from = None
    report = await members.audit()
    assert len(report.comparisons) == 1000
    assert report.calls == 5015


async def test_what_is_left_out_comes_first_the_next_time() -> None:
    """With too few calls for all, successive audits go round."""
    members = Members(2, groups=10)
    seen: list[str] = []
    reached = ""
    for _ in range(3):
        report = await members.audit(after=reached, most_calls=6 + 2 * 4)
        assert report.calls <= 14
        seen += [comparison.privacy_group_id for comparison in report.comparisons]
        reached = report.reached
    assert set(seen[:10]) == set(members.network.groups)


async def test_the_first_differing_block_is_found() -> None:
    """A member that drifted is named, with the first block at which its root is another one."""
    members = Members()
    members.network.write("g0000", 20)
    members.nodes[1].diverges_from = 21
    (found,) = (await members.audit()).differing
    ((odd, verdict),) = found.differing
    assert (odd.enclave_key, verdict, found.first_block) == ("key1", Verdict.DIVERGED, 21)
    assert found.reference == "key0"


async def test_a_difference_in_the_past_alone_is_none() -> None:
    """A replay of another group rewrites what a node shows of the past: the newest block decides."""
    members = Members()
    members.network.write("g0000", 4)
    past, node = members.network.head.number - 3, members.nodes[1]
    usual = node._view

    def view(group_id: str, number: int) -> GroupView:
        return replace(usual(group_id, 3 if number == past else number), block_number=number)

    node._view = view  # type: ignore[method-assign] # what a later replay leaves of the past
    (comparison,) = (await members.audit(confirmations=3)).comparisons
    assert comparison.agrees
    assert comparison.block_number == members.network.head.number
    members.nodes[2].diverges_from = past
    (found,) = (await members.audit(confirmations=3)).differing
    assert [standing.enclave_key for standing, _ in found.differing] == ["key2"]


async def test_a_member_that_lost_the_group_is_missing() -> None:
    """A member without state is missing from the block on at which the group went."""
    members = Members()
    members.nodes[2].loses_group_from = 8
    (found,) = (await members.audit()).differing
    ((odd, verdict),) = found.differing
    assert (odd.enclave_key, verdict, found.first_block) == ("key2", Verdict.MISSING, 8)


async def test_a_member_that_was_added_meanwhile_does_not_differ() -> None:
    """A node that lists the group since its newest block is no member at the block that is compared."""
    members = Members(2)
    late = FakeNode(members.network, "late", "late")
    fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in (*members.nodes, late)])
    members.nodes[0].held_at = members.network.head.number
    members.network.act("g0000", Action.LOCK)
    members.network.act("g0000", Action.ADD, ["late"])
    report = await audit(fleet, ())
    assert report.block_number == members.nodes[0].held_at
    assert not report.differing


async def test_nodes_that_are_down_or_far_behind_are_named_and_not_judged() -> None:
    """What can't be compared is skipped with the reason; the others are compared."""
    members = Members(4)
    members.nodes[0].down = True
    members.nodes[1].held_at = 5
    members.nodes[1].diverges_from = 4
    report = await members.audit()
    assert set(report.skipped) == {"node0", "node1"}
    (comparison,) = report.comparisons
    assert comparison.compared == ("key2", "key3")
    assert not comparison.differing


async def test_one_node_alone_is_not_compared() -> None:
    """With fewer than two nodes that can be compared there is no block to compare at."""
    members = Members(2)
    members.nodes[0].down = True
    assert (await members.audit()).block_number is None


async def test_a_removed_members_node_is_left_alone() -> None:
    """The state of a member that was removed may stay behind."""
    members = Members()
    members.network.act("g0000", Action.REMOVE, ["key2"])
    members.nodes[2].diverges_from = members.network.head.number
    members.network.mine()
    report = await members.audit()
    assert not report.differing
    assert report.comparisons[0].compared == ("key0", "key1")


async def test_between_two_the_audit_names_nobody_and_shows_what_each_lacks() -> None:
    """Of two members one missed a transaction: which, the roots can't tell; the marker without receipt is shown."""
    members = Members(2)
    call = {"account": "0xo", "nonce": 0, "group": "g0000", "action": "lock", "members": []}
    pmt_hash = members.network.submit(json.dumps(call).encode())
    members.network.mine()
    missed = members.network.head.number
    members.nodes[0].diverges_from = missed
    members.nodes[0].lacks.add(pmt_hash)
    members.network.mine(3)
    (found,) = (await members.audit()).differing
    assert (found.undecided, found.reference, found.state_root) == (True, "", "")
    assert [(s.enclave_key, verdict) for s, verdict in found.differing] == [
        ("key0", Verdict.DIVERGED),
        ("key1", Verdict.DIVERGED),
    ]
    assert found.first_block == missed
    assert found.lacking == {"key0": (pmt_hash,)}


async def test_a_removed_member_is_no_measure_between_two() -> None:
    """The first differing block is where the two members part, not where one of them parts from a former member."""
    members = Members(3)
    members.network.act("g0000", Action.REMOVE, ["key1"])
    members.nodes[1].diverges_from = members.network.head.number
    members.network.mine(4)
    parted = members.network.head.number
    members.nodes[2].diverges_from = parted
    members.network.mine(2)
    (found,) = (await members.audit()).differing
    assert (found.undecided, found.first_block) == (True, parted)


async def test_groups_of_disjoint_members_with_one_id_are_told_apart() -> None:
    """Two groups of the same id, none of whose members knows the other's, are no group that agrees."""
    members = Members(2)
    other = FakeNetwork()
    stranger = FakeNode(other, "stranger", "stranger")
    other.mine(3)
    other.groups["g0000"] = Group(owner="0xp", participants=("stranger",))
    other.mine(10)
    fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in (*members.nodes, stranger)])
    (found,) = (await audit(fleet, ())).differing
    assert found.participants == members.keys
    assert found.namesakes == (("stranger",),)
    assert not found.differing


async def test_a_node_that_overstates_its_head_hides_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three nodes one says that it is far ahead: the others are not taken to be behind, and are compared."""
    members = Members()
    members.nodes[1].diverges_from = 5
    far = replace(await members.nodes[2].head(), number=0x7FFFFFFFFFFF)

    async def overstated() -> Head:
        return far

    monkeypatch.setattr(members.nodes[2], "head", overstated)
    report = await members.audit()
    assert report.skipped == {}
    assert len(report.differing) == 1
