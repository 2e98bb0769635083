"""Whose word a cure rests on."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.engine.history.splits import split_before
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Block, NodeError, PmtOutcome
from orchestrator.membership.forecast.blocks import ChainBlock
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.membership.model import Change, GroupView, Kind, Repair
from orchestrator.membership.reasons.table import Reason
from tests.fakes.block_contents import an_addition
from tests.fakes.changes import a_change
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode

STALE = "0xstale"


class Member(FakeNode):
    """A node that executed a stale addition, or refused it, and lists these members."""

    executed: bool | None
    listed: tuple[str, ...]
    new = False
    asked = False

    async def outcomes(self, pmt_hashes: Sequence[str]) -> tuple[PmtOutcome, ...]:
        self.asked = True
        (pmt_hash,) = pmt_hashes
        return (PmtOutcome(pmt_hash=pmt_hash, block_number=3, block_hash="", executed=self.executed),)

    async def view(self, _: str, block_number: int) -> GroupView:
        self._ask()
        return GroupView(block_number=block_number, exists=True, participants=self.listed)

    async def memberships(
        self, privacy_group_ids: Sequence[str], first_block: int, last_block: int
    ) -> tuple[MembershipLog, ...]:
        key = self.enclave_keys[0] if self.new else "elsewhere"
        log = MembershipLog(
            privacy_group_id=privacy_group_ids[0], block_number=first_block, block_hash="", member=key, added=True
        )
        return (log,) if last_block >= first_block else ()

    async def blocks(self, block_numbers: Sequence[int]) -> tuple[Block, ...]:
        return tuple(replace(block, content=self.content(block)) for block in await super().blocks(block_numbers))

    def content(self, block: Block) -> ChainBlock | None:
        return None if block.content is None else replace(block.content, transactions=(self.marker,))

    marker = an_addition(STALE, "0xs", addition="0x" + "11" * 64)


class Stranger(Member):
    """It is no member of the group, and lies."""

    marker = replace(Member.marker, transaction_hash="0xother")


async def a_split(liar_executed: bool, *, new: bool) -> tuple[Fleet, dict[str, Member], Change]:
    """Members a and b refused what f executed; the liar's node is the first of all."""
    network = FakeNetwork()
    nodes = {name: Member(network, name, name.upper()) for name in "fab"}
    for name, node in nodes.items():
        node.executed, node.listed = name == "f", ("A", "B", "F")
    liar = Stranger(network, "l", "L")
    liar.executed, liar.listed, liar.new = liar_executed, ("L", "A", "B", "F"), new
    nodes = {"l": liar, **nodes}
    network.mine(5)
    fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in nodes.values()])
    for watcher in fleet.watchers:
        await watcher.refresh()
    repair = Repair(members=("F",), since_block=3, stale_pmt=STALE)
    change = replace(a_change("1", members=("F",)), kind=Kind.CURE_GROUP, repair=repair)
    return fleet, nodes, change


@pytest.mark.parametrize(("executed", "new"), [(True, False), (True, True), (False, False)])
async def test_no_strangers_word_keeps_a_group_from_its_cure(executed: bool, new: bool) -> None:
    """Whoever runs a node can say that it executed the stale addition as well, or refused it in another block."""
    fleet, nodes, change = await a_split(executed, new=new)
    split = await split_before(fleet, change)
    assert split is not None
    assert (split.block_number, set(split.well)) == (3, {"A", "B"})
    assert not nodes["l"].asked
    assert all(nodes[name].asked for name in "fab")


async def test_a_member_that_others_list_counts() -> None:
    """One that executed it as well has to come back, too, whoever was named."""
    fleet, nodes, change = await a_split(liar_executed=False, new=False)
    nodes["b"].executed, nodes["b"].new = True, True
    with pytest.raises(NodeError) as refused:
        await split_before(fleet, change)
    assert refused.value.reason.slug == "cure_does_not_fit"
    nodes["b"].executed = False
    nodes["f"].down = True
    with pytest.raises(NodeError) as silent:
        await split_before(fleet, change)
    assert silent.value.reason == Reason(slug="node_unreachable", detail=silent.value.reason.detail)
