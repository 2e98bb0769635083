"""A forecaster on nodes that show the head maps of `tests.fakes.head_maps`."""

import hashlib
from collections.abc import Mapping, Sequence

from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Block, Head, NodeError
from orchestrator.membership.forecast.blocks import PRIVACY_PRECOMPILE, ChainBlock, PublicTransaction
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.model import GroupView
from orchestrator.membership.reasons.table import Reason
from orchestrator.store.stores.history_store import SqlHistoryStore
from tests.fakes.clock import FastClock
from tests.fakes.head_maps import Act, SmallWorld
from tests.fakes.network import FakeNetwork, FakeNode


def hashed(*parts: object) -> str:
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


def replayed_by(found: Forecast) -> tuple[tuple[str, int], ...]:
    """Return how many blocks each new member has to replay."""
    return tuple((expected.enclave_key, expected.blocks) for expected in found.replays)


class Chain:
    """A chain of head maps with public transactions in its blocks.

    Args:
        names: The nodes beside ``T``.
    """

    def __init__(self, *names: str) -> None:
        self.world = SmallWorld(*names)
        self.branch = 0
        self.forked_at = 0
        self.accounts: dict[int, list[str]] = {}
        self.logs: list[tuple[str, int, str, bool]] = []

    def mine(self, *acts: Act, accounts: Sequence[str] = ()) -> None:
        """Make a block of these private transactions, and of a public one of each account."""
        self.world.mine(acts)
        number = self.world.head
        for act in acts:
            kinds = {"create": True, "add": True, "remove": False}
            if act.kind in kinds:
                self.logs += [(act.group, number, key, kinds[act.kind]) for key in act.keys]
        self.accounts[number] = [*(hashed(number, place)[:42] for place, _ in enumerate(acts)), *accounts]

    def hash_of(self, number: int) -> str:
        return hashed(number, self.branch if number > self.forked_at else 0)

    def block(self, number: int) -> Block:
        transactions = tuple(
            PublicTransaction(
                transaction_hash=hashed(number, place, "transaction"),
                sender=account,
                to=PRIVACY_PRECOMPILE,
                value=0,
                gas_limit=3_000_000,
                gas_price=0,
                data_bytes=64 if any(log[1] == number and log[3] for log in self.logs) else 32,
            )
            for place, account in enumerate(self.accounts.get(number, []))
        )
        content = ChainBlock(number=number, block_hash=self.hash_of(number), gas_limit=10**9, transactions=transactions)
        hashes = tuple(transaction.transaction_hash for transaction in transactions)
        return Block(number=number, block_hash=content.block_hash, transactions=hashes, content=content)


class MapNode(FakeNode):
    """A node of that chain; its enclave key is its name."""

    def __init__(self, chain: Chain, name: str) -> None:
        super().__init__(FakeNetwork(), name, name)
        self.chain = chain
        self.roots_read = 0
        self.headers_read = 0
        self.lists_all = True
        self.odd_from: int | None = None
        self.stands_at: int | None = None

    def _head(self) -> Head:
        number = self.chain.world.head if self.stands_at is None else self.stands_at
        return Head(number=number, block_hash=self.chain.hash_of(number), parent_hash=self.chain.hash_of(number - 1))

    async def block(self, number: int) -> Block:
        self._ask()
        self.headers_read += 1
        return self.chain.block(number)

    async def blocks(self, block_numbers: Sequence[int]) -> tuple[Block, ...]:
        self._ask()
        self.blocks_read += len(block_numbers)
        return tuple(self.chain.block(number) for number in block_numbers)

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        self._ask()
        self.roots_read += len(block_numbers)
        roots = [(number, self._root(privacy_group_id, number)) for number in block_numbers]
        return tuple(GroupView(block_number=n, exists=bool(root), state_root=root) for n, root in roots)

    async def public_roots(self, block_numbers: Sequence[int]) -> tuple[tuple[str, str], ...]:
        self._ask()
        return tuple((self.chain.block(number).block_hash, f"public {number}") for number in block_numbers)

    def _root(self, group: str, number: int) -> str:
        if self.odd_from is not None and number >= self.odd_from:
            return f"odd root of {self.name}"
        return self.chain.world.root(self.name, group, number)

    def _held(self) -> list[str]:
        groups = dict.fromkeys(log[0] for log in self.chain.logs)
        return [group for group in groups if self.chain.world.root(self.name, group, self.chain.world.head)]

    async def groups(self, enclave_keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        self._ask()
        if not enclave_keys and not self.lists_all:
            raise NodeError(Reason(slug="node_error", detail="a tenant has to name itself"))
        return dict.fromkeys(self._held(), ())

    async def memberships(
        self, privacy_group_ids: Sequence[str], first_block: int, last_block: int
    ) -> tuple[MembershipLog, ...]:
        self._ask()
        return tuple(
            MembershipLog(
                privacy_group_id=group,
                block_number=number,
                block_hash=self.chain.hash_of(number),
                member=key,
                added=added,
            )
            for wanted in privacy_group_ids
            for group, number, key, added in self.chain.logs
            if group == wanted and first_block <= number <= last_block
        )


class Scene:
    """Nodes, and a forecaster over them.

    Args:
        chain: The chain.
        store: What is kept.
        names: Nodes that the engine has access to.
    """

    def __init__(self, chain: Chain, store: SqlHistoryStore, *names: str) -> None:
        self.chain = chain
        self.store = store
        self.nodes = {name: MapNode(chain, name) for name in names}
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all that is only in memory."""
        self.watchers = {name: ChainWatcher(node, FastClock()) for name, node in self.nodes.items()}
        self.forecaster = Forecaster(Fleet(list(self.watchers.values())), self.store)

    async def seen(self) -> None:
        """Let the watchers see the chain's head."""
        for watcher in self.watchers.values():
            await watcher.refresh()
