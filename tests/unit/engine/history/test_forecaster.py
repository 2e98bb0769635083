"""Forecasts of additions on nodes: what is seen, what it costs, and what is kept."""

from dataclasses import replace

import pytest

from orchestrator.engine.history.forecaster import Question
from orchestrator.engine.history.ports import Mark
from orchestrator.engine.ports.nodes import Block, NodeError
from orchestrator.membership.forecast.histories import GroupBlock
from orchestrator.membership.forecast.senders import Bundle
from orchestrator.membership.forecast.verdict import Outlook, Scope
from orchestrator.store.stores.history_store import SqlHistoryStore
from tests.fakes.changes import a_change
from tests.fakes.head_maps import Act
from tests.fakes.mapped_nodes import Chain, Scene, replayed_by
from tests.fakes.surveys import a_plan

ASKED = Question(privacy_group_id="G", to_add=("N",), participants=("T", "S"))


def write(group: str = "G") -> Act:
    return Act(group=group, kind="tx")


def a_group(*more: str) -> Chain:
    """A group of T and S with a few blocks, and groups of T alone."""
    chain = Chain("S", "N")
    chain.mine(
        Act(group="G", kind="create", keys=("T", "S")), *(Act(group=x, kind="create", keys=("T",)) for x in more)
    )
    chain.mine()
    chain.mine(write())
    chain.mine()
    return chain


async def test_a_group_of_founders_is_extended_to_a_fresh_node(histories: SqlHistoryStore) -> None:
    """Nothing was replayed and no account sent twice in a block: safe, and the first member sends."""
    scene = Scene(a_group(), histories, "T", "S", "N")
    found = await scene.forecaster.forecast(ASKED)
    assert found.outlook is Outlook.SAFE
    assert found.sender is not None
    assert (found.sender.node, found.sender.bundle) == ("T", Bundle.FIRST_HAND)
    assert replayed_by(found) == (("N", 2),)
    assert found.block_hash == scene.chain.hash_of(4)


async def test_a_block_with_an_account_twice_is_named(histories: SqlHistoryStore) -> None:
    """The danger has the block, its two transactions, the reason and the member."""
    chain = a_group()
    chain.mine(write(), accounts=("0xa", "0xb", "0xa"))
    found = await Scene(chain, histories, "T", "S", "N").forecaster.forecast(ASKED)
    (danger,) = found.dangers
    assert found.outlook is Outlook.UNSAFE
    assert (danger.scope, danger.block_number, danger.reason.slug) == (Scope.MEMBER, 5, "block_not_replayable")
    assert danger.reason.members == ("N",)
    assert danger.transactions == tuple(chain.block(5).transactions[place] for place in (1, 3))
    assert "0xa" in danger.reason.detail


async def test_such_a_block_without_the_group_is_no_danger(histories: SqlHistoryStore) -> None:
    """Only blocks with an executed transaction of the group are replayed."""
    chain = a_group()
    chain.mine(accounts=("0xa", "0xa"))
    chain.mine(write())
    found = await Scene(chain, histories, "T", "S", "N").forecaster.forecast(ASKED)
    assert found.outlook is Outlook.SAFE


async def test_the_locks_own_block_is_looked_at(histories: SqlHistoryStore) -> None:
    """What was safe before the lock is unsafe when the lock's block holds an account twice."""
    chain = a_group()
    scene = Scene(chain, histories, "T", "S", "N")
    assert (await scene.forecaster.forecast(ASKED)).reason is None
    chain.mine(Act(group="G", kind="lock"), accounts=("0xa", "0xa"))
    chain.mine()
    await scene.seen()
    again = await scene.forecaster.forecast(replace(ASKED, senders=("T",), through=6))
    assert again.reason is not None
    assert again.reason.slug == "block_not_replayable"
    assert again.dangers[0].block_number == 5


async def test_no_node_with_the_asked_block_is_not_taken_for_safe(histories: SqlHistoryStore) -> None:
    """The block after the lock's has to be there, or nothing is said."""
    scene = Scene(a_group(), histories, "T", "S", "N")
    with pytest.raises(NodeError, match="node_behind"):
        await scene.forecaster.forecast(replace(ASKED, through=5))


async def test_members_on_two_branches_do_not_differ(
    histories: SqlHistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roots that were read while the chain was reorganised say nothing of who is right: it is looked at again."""
    scene = Scene(a_group(), histories, "T", "S", "N")
    node = scene.nodes["S"]
    node.odd_from = 2
    own = node.block

    async def other_branch(number: int) -> Block:
        return replace(await own(number), block_hash="0xother")

    monkeypatch.setattr(node, "block", other_branch)
    with pytest.raises(NodeError, match="not_at_this_block"):
        await scene.forecaster.forecast(ASKED)


async def test_members_that_differ_are_told_before_the_lock(histories: SqlHistoryStore) -> None:
    """Of two that differ nothing tells who is right; with a third the odd one is named."""
    chain = a_group()
    scene = Scene(chain, histories, "T", "S", "N")
    scene.nodes["S"].odd_from = 2
    found = await scene.forecaster.forecast(ASKED)
    assert found.reason is not None
    assert (found.reason.slug, set(found.reason.members)) == ("members_undecided", {"T", "S"})

    chain = Chain("S", "R", "N")
    chain.mine(Act(group="G", kind="create", keys=("T", "S", "R")))
    chain.mine(write())
    scene = Scene(chain, histories, "T", "S", "R", "N")
    scene.nodes["T"].odd_from = 2
    found = await scene.forecaster.forecast(replace(ASKED, participants=("T", "S", "R")))
    assert found.reason is not None
    assert (found.reason.slug, found.reason.members) == ("members_differ", ("T",))


async def test_a_member_that_still_replays_does_not_differ(histories: SqlHistoryStore) -> None:
    """Its node stands before its addition, where it has no state yet: that is said, and holds up nobody."""
    chain = Chain("S", "N")
    chain.mine(Act(group="G", kind="create", keys=("T",)))
    chain.mine(Act(group="G", kind="lock"))
    chain.mine()
    chain.mine(Act(group="G", kind="add", keys=("S",)))
    scene = Scene(chain, histories, "T", "S", "N")
    scene.nodes["S"].stands_at = 3
    found = await scene.forecaster.forecast(ASKED)
    assert (found.outlook, found.reason) == (Outlook.UNKNOWN, None)
    assert [unseen.enclave_key for unseen in found.unseen] == ["S"]
    scene.nodes["S"].stands_at = None
    await scene.seen()
    assert (await scene.forecaster.forecast(ASKED)).outlook is Outlook.SAFE


async def test_a_leaving_member_may_differ(histories: SqlHistoryStore) -> None:
    """Removing it is the remedy, and what it shows does not count."""
    scene = Scene(a_group(), histories, "T", "S", "N")
    scene.nodes["S"].odd_from = 2
    found = await scene.forecaster.forecast(replace(ASKED, leaving=("S",)))
    assert found.outlook is Outlook.SAFE


async def test_a_node_that_is_not_ours_is_said_and_not_refused(histories: SqlHistoryStore) -> None:
    """What can't be seen makes the outlook unknown; the joining side can tell."""
    found = await Scene(a_group(), histories, "T", "S").forecaster.forecast(ASKED)
    assert found.outlook is Outlook.UNKNOWN
    assert found.reason is None
    assert [(unseen.enclave_key, unseen.node) for unseen in found.unseen] == [("N", None)]


async def test_a_node_of_ours_that_does_not_answer_is_waited_for(histories: SqlHistoryStore) -> None:
    """It may be a former member's, whose roots have to be looked at: nothing is begun without that."""
    scene = Scene(a_group(), histories, "T", "S", "N")
    scene.nodes["N"].down = True
    found = await scene.forecaster.forecast(ASKED)
    assert found.reason is not None
    assert (found.reason.slug, found.reason.members) == ("node_unreachable", ("N",))


async def test_a_members_node_that_does_not_answer_is_said(histories: SqlHistoryStore) -> None:
    """The others send and show the history; that one could not be compared."""
    scene = Scene(a_group(), histories, "T", "S", "N")
    scene.nodes["T"].down = True
    found = await scene.forecaster.forecast(ASKED)
    assert (found.outlook, found.sender and found.sender.node) == (Outlook.UNKNOWN, "S")
    assert found.unseen[0].enclave_key == "T"
    scene.nodes["S"].down = True
    with pytest.raises(NodeError, match="no member's node"):
        await scene.forecaster.forecast(ASKED)


async def test_after_the_lock_the_planned_node_is_asked_for(histories: SqlHistoryStore) -> None:
    """The lock's block is looked at, and only the node that will send is judged as a sender."""
    chain = a_torn_bundle()
    scene = Scene(chain, histories, "T", "S", "N")
    change = a_change("add", members=("N",), privacy_group_id="G")
    chain.mine(Act(group="G", kind="lock"), accounts=("0xa", "0xa"))
    chain.mine()
    await scene.seen()
    head = await scene.watchers["S"].current()
    plan = a_plan(node="S", to_add=("N",), participants=("T", "S"))
    found = await scene.forecaster.after_lock(replace(change, plan=plan), head)
    assert {(danger.reason.slug, danger.block_number) for danger in found.dangers} == {
        ("bundle_may_be_torn", 4),
        ("block_not_replayable", 9),
    }
    with pytest.raises(ValueError, match="no plan"):
        await scene.forecaster.after_lock(replace(change, plan=None), head)


async def test_after_the_lock_a_planned_node_that_does_not_answer_is_asked_again(histories: SqlHistoryStore) -> None:
    """That it can't be looked at says nothing of its bundle: no forecast is made of the others."""
    chain = a_group()
    scene = Scene(chain, histories, "T", "S", "N")
    await scene.seen()
    head = await scene.watchers["S"].current()
    scene.nodes["S"].down = True
    plan = a_plan(node="S", to_add=("N",), participants=("T", "S"))
    change = replace(a_change("add", members=("N",), privacy_group_id="G"), plan=plan)
    with pytest.raises(NodeError, match=r"no node that may send .*S: node unreachable") as raised:
        await scene.forecaster.after_lock(change, head)
    assert raised.value.reason.slug == "node_unreachable"
    scene.nodes["S"].down = False
    assert (await scene.forecaster.after_lock(change, head)).reason is None


async def test_an_unseen_fresh_node_replays_all_of_it(histories: SqlHistoryStore) -> None:
    """A block that nobody can replay is known without seeing the node."""
    chain = a_group()
    chain.mine(write(), accounts=("0xa", "0xa"))
    found = await Scene(chain, histories, "T", "S").forecaster.forecast(ASKED)
    assert found.reason is not None
    assert found.reason.slug == "block_not_replayable"


async def test_an_unseen_former_member_replays_what_came_since(histories: SqlHistoryStore) -> None:
    """The group's logs tell when it left; what is older it has executed."""
    chain = Chain("S", "N")
    chain.mine(Act(group="G", kind="create", keys=("T", "S", "N")))
    chain.mine(write(), accounts=("0xa", "0xa"))
    chain.mine(Act(group="G", kind="remove", keys=("N",)))
    chain.mine(write())
    found = await Scene(chain, histories, "T", "S").forecaster.forecast(ASKED)
    assert found.reason is None
    assert replayed_by(found) == (("N", 1),)


async def test_a_node_that_joined_nothing_sends_before_one_that_did(histories: SqlHistoryStore) -> None:
    """S joined X by replay; its bundles are second choice, whoever is preferred."""
    chain = a_group("X")
    chain.mine(Act(group="X", kind="lock"))
    chain.mine()
    chain.mine(Act(group="X", kind="add", keys=("S",)))
    chain.mine()
    scene = Scene(chain, histories, "T", "S", "N")
    found = await scene.forecaster.forecast(replace(ASKED, senders=("S", "T")))
    assert found.sender is not None
    assert (found.sender.node, found.sender.bundle) == ("T", Bundle.FIRST_HAND)
    alone = await scene.forecaster.forecast(replace(ASKED, senders=("S",)))
    assert alone.sender is not None
    assert (alone.sender.node, alone.sender.bundle) == ("S", Bundle.WHOLE)


def a_torn_bundle() -> Chain:
    """S replays X over block 3, in which G has a transaction that the next block's follows."""
    chain = Chain("S", "N")
    chain.mine(Act(group="G", kind="create", keys=("T", "S")), Act(group="X", kind="create", keys=("T",)))
    chain.mine()
    chain.mine(write(), write("X"))
    chain.mine(write())
    chain.mine(Act(group="X", kind="lock"))
    chain.mine()
    chain.mine(Act(group="X", kind="add", keys=("S",)))
    chain.mine()
    return chain


async def test_a_torn_bundle_is_not_sent(histories: SqlHistoryStore) -> None:
    """No root shows it; where only that node can send, the addition is unsafe, and where another can it is not."""
    chain = a_torn_bundle()
    assert not chain.world.sends_whole("S", "G")
    scene = Scene(chain, histories, "T", "S", "N")
    found = await scene.forecaster.forecast(replace(ASKED, senders=("S",)))
    (danger,) = found.dangers
    assert (danger.scope, danger.reason.slug, danger.block_number) == (Scope.SENDER, "bundle_may_be_torn", 4)
    assert found.sender is None
    assert (await scene.forecaster.forecast(ASKED)).outlook is Outlook.SAFE


async def test_history_can_be_read_where_everybody_replayed(histories: SqlHistoryStore) -> None:
    """Only S can be seen: every block is looked at, and the torn bundle is found all the same."""
    found = await Scene(a_torn_bundle(), histories, "S", "N").forecaster.forecast(ASKED)
    assert found.reason is not None
    assert found.reason.slug == "bundle_may_be_torn"


async def test_a_node_that_does_not_list_all_its_groups_may_send_and_is_named(histories: SqlHistoryStore) -> None:
    """A tenant is told of its own groups only: what it left can't be seen, which the forecast says."""
    scene = Scene(a_group(), histories, "S", "N")
    scene.nodes["S"].lists_all = False
    found = await scene.forecaster.forecast(ASKED)
    assert (found.outlook, found.sender and found.sender.bundle) == (Outlook.UNKNOWN, Bundle.UNKNOWN)
    assert found.unseen[0].enclave_key == "S"


async def test_a_group_held_without_a_membership_counts_as_replayed(histories: SqlHistoryStore) -> None:
    """An addition that failed leaves a history behind, nobody knows when."""
    chain = a_torn_bundle()
    chain.logs = [log for log in chain.logs if not (log[0] == "X" and log[2] == "S")]
    found = await Scene(chain, histories, "S", "N").forecaster.forecast(ASKED)
    assert found.reason is not None
    assert found.reason.slug == "bundle_may_be_torn"
    assert "not known" in found.reason.detail


def a_former_member(*, damaged: bool) -> Chain:
    """N leaves G in block 3, in which X has a transaction, and joins X by replay; G goes on in block 4 or 6."""
    chain = Chain("S", "N")
    chain.mine(Act(group="G", kind="create", keys=("T", "S", "N")), Act(group="X", kind="create", keys=("T",)))
    chain.mine()
    chain.mine(Act(group="G", kind="remove", keys=("N",)), write("X"))
    chain.mine(*([write()] if damaged else []))
    chain.mine(Act(group="X", kind="lock"))
    chain.mine(write())
    chain.mine(Act(group="X", kind="add", keys=("N",)))
    chain.mine()
    return chain


async def test_a_former_member_that_would_halt_is_refused(histories: SqlHistoryStore) -> None:
    """Its roots are right at every block, and still its node would halt: X was replayed over its last block."""
    found = await Scene(a_former_member(damaged=True), histories, "T", "S", "N").forecaster.forecast(ASKED)
    (danger,) = found.dangers
    assert (danger.reason.slug, danger.block_number) == ("former_member_unsafe", 3)


async def test_a_former_member_that_can_go_on_is_added_again(histories: SqlHistoryStore) -> None:
    """It replays what it lacks only."""
    found = await Scene(a_former_member(damaged=False), histories, "T", "S", "N").forecaster.forecast(ASKED)
    assert found.outlook is Outlook.SAFE
    assert replayed_by(found) == (("N", 1),)


async def test_a_reorganisation_drops_what_was_of_the_other_branch(histories: SqlHistoryStore) -> None:
    """Blocks above the fork are examined anew; those below are not."""
    chain = a_group()
    scene = Scene(chain, histories, "T", "S", "N")
    await scene.forecaster.forecast(ASKED)
    assert scene.nodes["T"].blocks_read == 2
    chain.branch, chain.forked_at = 1, 2
    chain.accounts[3] += ["0xa", "0xa"]
    chain.mine()
    await scene.seen()
    found = await scene.forecaster.forecast(ASKED)
    assert found.reason is not None
    assert found.reason.slug == "block_not_replayable"
    assert sum(node.blocks_read for node in scene.nodes.values()) == 3
    kept = (await histories.group_blocks("G")).blocks
    assert [block.block_hash for block in kept] == [chain.hash_of(1), chain.hash_of(3)]


@pytest.mark.parametrize("read_before", [False, True])
async def test_what_an_audit_read_on_a_stranger_is_not_believed(histories: SqlHistoryStore, read_before: bool) -> None:
    """A node that lists a group as its own may be where an audit read it: what no member shows refuses no addition."""
    chain = a_group()
    if read_before:
        await Scene(chain, histories, "T", "S", "N").forecaster.forecast(ASKED)
    chain.mine(accounts=("0xa", "0xa"))
    chain.mine()
    head = Mark(number=6, block_hash=chain.hash_of(6))
    invented = GroupBlock(number=5, block_hash=chain.hash_of(5), state_root="0xinvented")
    kept = await histories.group_blocks("G")
    await histories.keep_group_blocks("G", 4, (invented,), head)
    found = await Scene(chain, histories, "T", "S", "N").forecaster.forecast(ASKED)
    assert found.reason is None
    assert found.last_block == 3
    blocks = (await histories.group_blocks("G")).blocks
    assert [block.number for block in blocks] == [1, 3]
    assert blocks[: len(kept.blocks)] == kept.blocks


async def test_a_restart_reads_nothing_again(histories: SqlHistoryStore) -> None:
    """What was read is kept in the store; after a restart only what is new is asked for."""
    chain = a_group()
    scene = Scene(chain, histories, "T", "S", "N")
    first = await scene.forecaster.forecast(ASKED)
    scene.start_anew()
    chain.mine(write())
    assert replayed_by(await scene.forecaster.forecast(ASKED)) == (("N", 3),)
    assert replayed_by(first) == (("N", 2),)
    # Of the new block each of the two members' nodes tells once that nobody was added in it; there it is examined, too.
    assert sum(node.blocks_read for node in scene.nodes.values()) == 2 + 2
