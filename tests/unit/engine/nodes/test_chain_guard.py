"""A node that comes back with another chain is noticed."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from orchestrator.engine.nodes.chain_guard import DEEP_BLOCKS, ChainGuard, NodeChain, OtherChainError
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeTraits
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained_failures
from tests.fakes.clock import FastClock
from tests.fakes.network import FakeNetwork, FakeNode


class Remembered(dict[str, NodeChain]):
    """Chains in a dictionary."""

    async def chains(self) -> dict[str, NodeChain]:
        return self

    async def keep(self, node: str, chain: NodeChain) -> None:
        self[node] = chain


def a_guard(record: Remembered, blocks: int = 10) -> tuple[ChainGuard, FakeNode]:
    network = FakeNetwork()
    network.mine(blocks)
    node = FakeNode(network, "member1", "A")
    clock = FastClock()
    return ChainGuard(Fleet([ChainWatcher(node, clock)]), record, clock), node


async def test_a_chain_is_remembered_and_recognised() -> None:
    """The first look remembers chain id, first block and a deep block; the same chain raises nothing, however long."""
    record = Remembered()
    guard, node = a_guard(record)
    await guard.check()
    first = record["member1"]
    assert first.number == 0
    node.network.mine(2 * DEEP_BLOCKS)
    await guard.check()
    assert record["member1"].number > first.number


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chain_id": 4}, "its chain id was 4"),
        ({"genesis_hash": "0xanother"}, "its first block was 0xanother"),
        ({"number": 3, "block_hash": "0xanother"}, "its block 3 was 0xanother"),
    ],
)
async def test_another_chain_is_refused_with_the_way_out(change: dict[str, object], said: str) -> None:
    """What differs is named, and what to do; what was remembered stays, so that the next start refuses again."""
    record = Remembered()
    guard, _ = a_guard(record)
    await guard.check()
    known = record["member1"]
    fields = {name: getattr(known, name) for name in known.__dataclass_fields__}
    record["member1"] = other = NodeChain(**{**fields, **change})
    with pytest.raises(OtherChainError, match="move the database away") as refused:
        await guard.check()
    assert said in str(refused.value)
    assert record["member1"] is other
    with pytest.raises(OtherChainError):
        await asyncio.wait_for(guard.run(), 10)


async def test_one_node_on_another_chain_is_left_out_until_it_is_back() -> None:
    """Who runs one node can't stop a daemon that works with others."""
    network, clock, record = FakeNetwork(), FastClock(), Remembered()
    network.mine(10)
    nodes = [FakeNode(network, name, name) for name in ("member1", "member2")]
    guard = ChainGuard(Fleet([ChainWatcher(node, clock) for node in nodes]), record, clock)
    await guard.check()
    right = record["member2"]
    record["member2"] = replace(right, genesis_hash="0xanother")
    await guard.check()
    assert [bool(node.barred) for node in nodes] == [False, True]
    assert "its first block was 0xanother" in nodes[1].barred
    nodes[1].down = True
    await guard.check()
    assert nodes[1].barred, "silent, it may still be on the other chain"
    nodes[1].down = False
    record["member2"] = right
    await guard.check()
    assert not nodes[1].barred


async def test_a_chain_id_that_no_other_node_has_is_not_signed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that tells a chain id of its own from the start is left out, where two others agree on another."""
    network, clock, record = FakeNetwork(), FastClock(), Remembered()
    network.mine(10)
    nodes = [FakeNode(network, name, name) for name in ("member1", "member2", "member3")]
    traits = replace(await nodes[0].traits(), chain_id=1)

    async def told() -> NodeTraits:
        return traits

    monkeypatch.setattr(nodes[0], "traits", told)
    await ChainGuard(Fleet([ChainWatcher(node, clock) for node in nodes]), record, clock).check()
    assert [bool(node.barred) for node in nodes] == [True, False, False]
    assert set(record) == {"member2", "member3"}
    for node in nodes:
        node.barred = ""
    await ChainGuard(Fleet([ChainWatcher(node, clock) for node in nodes[:2]]), record, clock).check()
    assert not nodes[0].barred, "of two nobody can say which one is right"


async def test_a_node_that_does_not_answer_decides_nothing() -> None:
    """Not knowing is no difference: a silent node is compared when it answers again."""
    record = Remembered(member1=NodeChain(chain_id=1, genesis_hash="0x1", number=0, block_hash="0x1"))
    guard, node = a_guard(record)
    node.down = True
    await guard.check()
    node.down = False
    with pytest.raises(OtherChainError):
        await guard.check()


async def test_a_store_that_is_away_is_no_defect() -> None:
    """While the store does not answer nothing is compared and nothing contained; afterwards it goes on."""

    class Away(Remembered):
        failures = 2

        async def chains(self) -> dict[str, NodeChain]:
            if self.failures:
                self.failures -= 1
                raise StoreError("away")
            return self

    record = Away(member1=NodeChain(chain_id=1, genesis_hash="0x1", number=0, block_hash="0x1"))
    guard, _ = a_guard(record)
    before = Counter(contained_failures)
    with pytest.raises(OtherChainError):
        await guard.run()
    assert record.failures == 0
    assert contained_failures == before
