"""What a long history costs: each of its blocks is read once in its life."""

from collections.abc import Mapping, Sequence

from orchestrator.engine.history.forecaster import Forecaster, Question
from orchestrator.engine.history.groups import READ_AT_A_TIME
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Block, Head
from orchestrator.membership.forecast.blocks import ChainBlock
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.membership.forecast.verdict import Forecast, Outlook, Scope
from orchestrator.membership.model import GroupView
from orchestrator.store.stores.history_store import SqlHistoryStore
from tests.fakes.clock import FastClock
from tests.fakes.mapped_nodes import replayed_by
from tests.fakes.network import FakeNetwork, FakeNode

EVERY = 3
"""The group has a transaction in each third block."""
BLOCKS = 10_000
ASKED = Question(privacy_group_id="G", to_add=("N",), participants=("T",))


class LongNode(FakeNode):
    """A founder's node, or one without the group, of a long chain; counts what it is asked."""

    def __init__(self, name: str, head: int) -> None:
        super().__init__(FakeNetwork(), name, name)
        self.number = head
        self.headers_read = 0
        self.roots_read = 0
        self.most_at_once = 0

    def _head(self) -> Head:
        return Head(number=self.number, block_hash=f"block {self.number}", parent_hash=f"block {self.number - 1}")

    async def block(self, number: int) -> Block:
        self.headers_read += 1
        return Block(number=number, block_hash=f"block {number}", transactions=())

    async def blocks(self, block_numbers: Sequence[int]) -> tuple[Block, ...]:
        self.blocks_read += len(block_numbers)
        self.most_at_once = max(self.most_at_once, len(block_numbers))
        return tuple(
            Block(
                number=number,
                block_hash=f"block {number}",
                transactions=(),
                content=ChainBlock(number=number, block_hash=f"block {number}", gas_limit=10**9, transactions=()),
            )
            for number in block_numbers
        )

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        self.roots_read += len(block_numbers)
        self.most_at_once = max(self.most_at_once, len(block_numbers))
        assert privacy_group_id == "G"
        held = self.name == "T"
        roots = [(n, f"root {n // EVERY}" if held and n >= EVERY else "") for n in block_numbers]
        return tuple(GroupView(block_number=n, exists=bool(root), state_root=root) for n, root in roots)

    async def public_roots(self, block_numbers: Sequence[int]) -> tuple[tuple[str, str], ...]:
        self.most_at_once = max(self.most_at_once, len(block_numbers))
        return tuple((f"block {number}", f"after {number}") for number in block_numbers)

    async def groups(self, enclave_keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        assert set(enclave_keys) <= {self.name}
        return {"G": ("T",)} if self.name == "T" else {}

    async def memberships(
        self, privacy_group_ids: Sequence[str], first_block: int, last_block: int
    ) -> tuple[MembershipLog, ...]:
        assert last_block <= self.number
        first = EVERY, f"block {EVERY}"
        return tuple(
            MembershipLog(privacy_group_id=g, block_number=first[0], block_hash=first[1], member="T", added=True)
            for g in privacy_group_ids
            if first_block <= EVERY
        )


async def until_read(nodes: list[LongNode], store: SqlHistoryStore) -> tuple[Forecast, int]:
    """Ask a forecaster that knows what the store keeps until it has read all; returns how often that was, too."""
    forecaster = Forecaster(Fleet([ChainWatcher(node, FastClock()) for node in nodes]), store)
    for calls in range(1, 20):
        found = await forecaster.forecast(ASKED)
        if found.outlook is not Outlook.UNSAFE:
            return found, calls
        assert [danger.scope for danger in found.dangers] == [Scope.MOMENT]
    raise AssertionError("it is never read")


async def test_ten_thousand_blocks_are_read_once_in_their_life(histories: SqlHistoryStore) -> None:
    """Each block of the group is read once, in parts, and never again: not by another forecast nor after a restart."""
    nodes = [LongNode("T", EVERY * BLOCKS), LongNode("N", EVERY * BLOCKS)]
    found, calls = await until_read(nodes, histories)
    assert replayed_by(found) == (("N", BLOCKS),)
    assert calls > BLOCKS / READ_AT_A_TIME.changes - 1
    assert sum(node.blocks_read for node in nodes) == BLOCKS
    assert nodes[0].roots_read < EVERY * BLOCKS * 1.1
    assert nodes[0].most_at_once <= 256

    asked_before = nodes[0].roots_read
    again, _ = await until_read(nodes, histories)
    assert replayed_by(again) == (("N", BLOCKS),)
    for node in nodes:
        node.number += EVERY
    later, _ = await until_read(nodes, histories)
    assert replayed_by(later) == (("N", BLOCKS + 1),)
    assert sum(node.blocks_read for node in nodes) == BLOCKS + 1
    assert sum(node.headers_read for node in nodes) <= 10
    assert nodes[0].roots_read - asked_before < 20
