"""What one node tells of a block counts for those who ask that node, until a second one tells the same."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.engine.history.examinations import ExaminedBlocks
from orchestrator.engine.history.forecaster import Question
from orchestrator.engine.ports.nodes import Block
from orchestrator.membership.forecast.verdict import Outlook
from orchestrator.store.stores.history_store import SqlHistoryStore
from tests.fakes.head_maps import Act
from tests.fakes.mapped_nodes import Chain, MapNode, Scene

OF_OTHERS = Question(privacy_group_id="G", to_add=("N",), participants=("T", "S"))
OF_THE_LIAR = Question(privacy_group_id="H", to_add=("N",), participants=("L",))


def two_groups(accounts: Sequence[str] = ()) -> Chain:
    """G of T and S, and H of L alone, with transactions in the same blocks."""
    chain = Chain("S", "L", "N")
    created = Act(group="G", kind="create", keys=("T", "S")), Act(group="H", kind="create", keys=("L",))
    chain.mine(*created, accounts=accounts)
    chain.mine()
    chain.mine(Act(group="G", kind="tx"), Act(group="H", kind="tx"))
    chain.mine()
    return chain


def forge(scene: Scene, monkeypatch: pytest.MonkeyPatch, accounts: Sequence[str]) -> None:
    """Let L tell other accounts of the transactions in each block, under the block's own hash."""
    node = scene.nodes["L"]
    honest = node.blocks

    async def blocks(block_numbers: Sequence[int]) -> tuple[Block, ...]:
        told = []
        for block in await honest(block_numbers):
            assert block.content is not None
            senders = [accounts[place % len(accounts)] for place, _ in enumerate(block.content.transactions)]
            forged = [replace(t, sender=s) for t, s in zip(block.content.transactions, senders, strict=True)]
            told.append(replace(block, content=replace(block.content, transactions=tuple(forged))))
        return tuple(told)

    monkeypatch.setattr(node, "blocks", blocks)


@pytest.mark.parametrize("again", [False, True], ids=["at once", "after a restart"])
async def test_a_node_closes_no_group_of_others(
    histories: SqlHistoryStore, monkeypatch: pytest.MonkeyPatch, *, again: bool
) -> None:
    """A node that tells of blocks that no replay gets over stops additions to its own groups, and to no other."""
    scene = Scene(two_groups(), histories, "T", "S", "L", "N")
    forge(scene, monkeypatch, ("0xa", "0xa"))
    assert (await scene.forecaster.forecast(OF_THE_LIAR)).outlook is Outlook.UNSAFE
    if again:
        scene.start_anew()
    assert (await scene.forecaster.forecast(OF_OTHERS)).outlook is Outlook.SAFE


async def test_a_node_opens_no_group_of_others(histories: SqlHistoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that hides what no replay gets over hides it from its own groups alone."""
    scene = Scene(two_groups(accounts=("0xa", "0xa")), histories, "T", "S", "L", "N")
    forge(scene, monkeypatch, ("0xb", "0xc", "0xd", "0xe"))
    assert (await scene.forecaster.forecast(OF_THE_LIAR)).outlook is Outlook.SAFE
    assert (await scene.forecaster.forecast(OF_OTHERS)).outlook is Outlook.UNSAFE


async def test_what_two_nodes_tell_is_read_by_no_third(histories: SqlHistoryStore) -> None:
    """A block is read from two nodes at the most, whoever asks after that."""
    scene = Scene(two_groups(), histories, "T", "S", "L")
    examined = ExaminedBlocks(histories)
    for name in ("T", "S", "L", "L", "T"):
        await examined.examine([1, 3], scene.watchers[name])
    assert [node.blocks_read for node in scene.nodes.values()] == [2, 2, 0]


async def test_a_branch_of_one_node_is_its_own(histories: SqlHistoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that shows other hashes for old blocks lets nobody read again what others told."""
    scene = Scene(two_groups(), histories, "T", "S", "L")
    examined = ExaminedBlocks(histories)
    for name in ("T", "S", "L"):
        await scene.watchers[name].refresh()
        await examined.examine([1, 3], scene.watchers[name])
    liar = scene.nodes["L"]
    _branch_off(liar, monkeypatch)
    scene.watchers["L"].reorganisations += 1
    found = await examined.examine([1, 3], scene.watchers["L"])
    assert {one.block_hash for one in found.values()} == {"0xother"}
    before = scene.nodes["T"].blocks_read, scene.nodes["S"].blocks_read
    for name in ("T", "S"):
        found = await examined.examine([1, 3], scene.watchers[name])
        assert found[3].block_hash == scene.chain.hash_of(3)
    assert (scene.nodes["T"].blocks_read, scene.nodes["S"].blocks_read) == before


def _branch_off(node: MapNode, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = node.chain

    def other(number: int) -> Block:
        block = chain.block(number)
        assert block.content is not None
        return replace(block, block_hash="0xother", content=replace(block.content, block_hash="0xother"))

    async def block(number: int) -> Block:
        return other(number)

    async def blocks(block_numbers: Sequence[int]) -> tuple[Block, ...]:
        return tuple(other(number) for number in block_numbers)

    monkeypatch.setattr(node, "block", block)
    monkeypatch.setattr(node, "blocks", blocks)
