"""What the replicas broadcast and what becomes of it in the blocks: the invariants of markers."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.besu.codec.private_transaction import decode_private_transaction
from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.chain.public_signatures import decode_public_transaction
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.encoding import data
from orchestrator.devnet.nodes.private_view import state_at
from orchestrator.membership.attempt import Action
from tests.simulation.truth import Truth, group_bytes
from tests.simulation.world import Life, World

LOCK_WINDOW_BLOCKS = 2
"""Blocks from a lock to its addition, at the least (docs/besu.md#how-replay-damages-other-groups)."""

OWNER_ADDRESS = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"

WITHOUT_BUNDLES = "21.1.7"
"""The one of the simulated versions whose distribution leaves the history out: there nodes sign additions' markers."""

_STORED = (
    "SELECT a.change_id, c.privacy_group_id, a.action, a.node, a.private_nonce, a.raw, a.marker, a.renewed, "
    "a.status, l.holder FROM attempts a JOIN changes c USING (change_id) JOIN lanes l USING (privacy_group_id) "
    "WHERE lower(json_extract(a.marker, '$.account')) = ?"
)


class Store(Protocol):
    """What is asked of `checks.Checks`."""

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what the store holds."""

    def broke(self, life: Life | None, what: object) -> None:
        """Remember that an invariant is broken."""


@dataclass(slots=True, kw_only=True)
class Carrier:
    """An attempt whose marker, or what burns it, was broadcast.

    Attributes:
        account: Of its one marker; empty when a node signs that.
        change_id, group, action, node, private_nonce, raw: Of the attempt.
        bundles: Whether the marker brings a history.
        attempt_id: Of one whose marker a node signs.
        offered: Whether the marker itself was broadcast.
        block: Where the account's nonce was used, on the present chain.
        executes: Whether it was the marker that used it.
        stale: Whether the marker was mined on another state than that which its lock left.
    """

    account: str
    change_id: str
    group: str
    action: Action
    node: str
    private_nonce: int
    raw: bytes
    bundles: bool
    attempt_id: str = ""
    offered: bool = False
    block: int | None = None
    executes: bool = False
    stale: bool = False


class Ledger:
    """Looks at every broadcast and every block.

    Args:
        world: The simulation.
        store: What is stored.

    Attributes:
        truth: What the blocks made of the groups.
        harmed: Groups of which an addition by another client was mined on an older state: its sender fell back to that;
            and others of a new member whom another client added in the block behind its lock.
    """

    def __init__(self, world: World, store: Store) -> None:
        self._world = world
        self._store = store
        self._carriers: dict[str, Carrier] = {}
        self._by_node: dict[bytes, Carrier] = {}
        network = world.emulation.network
        self.truth = Truth(network)
        self.harmed: set[str] = set()
        network.on_block, network.on_fork = self._made, self._left

    def stale(self) -> list[Carrier]:
        """Return the additions that were mined without their lock."""
        return [carrier for carrier in self._all() if carrier.stale and carrier.executes]

    # --- broadcasts ------------------------------------------------------------------------------------------------

    def broadcast(self, life: Life, raw: str) -> None:
        """Look at a public transaction that a replica hands to a node: it is stored, and nothing stands against it."""
        sent = decode_public_transaction(bytes.fromhex(raw.removeprefix("0x")))
        found = self._store.rows(_STORED, sent.sender)
        if len(found) != 1:
            self._store.broke(life, f"broadcasts a transaction of an account that {len(found)} stored attempts have")
            return
        change_id, group, action, node, private_nonce, private, marker, renewed, status, holder = found[0]
        known = json.loads(marker)
        if not sent.is_marker:
            if sent.to != sent.sender or sent.value or sent.input:
                self._store.broke(life, "broadcasts what is neither a marker nor burns one")
            return
        same = sent.raw.hex() == known["raw"].removeprefix("0x") or data(sent.hash) in json.loads(renewed)
        if not same or sent.input.hex() != known["payload_key"].removeprefix("0x"):
            self._store.broke(life, f"broadcasts a marker of {action} that is not stored")
        if status in ("void", "burnt") and holder == life.name.partition(".")[0]:
            self._store.broke(life, f"broadcasts the marker of {action}, which it has given up")
        carrier = self._carriers.setdefault(
            sent.sender,
            Carrier(
                account=sent.sender,
                change_id=change_id,
                group=group,
                action=Action(action),
                node=node,
                private_nonce=private_nonce,
                raw=bytes(private),
                bundles=sent.history_key is not None,
            ),
        )
        if carrier.block is None:
            self._check_competing(life, carrier)
            self._check_lock(life, carrier)
        carrier.offered = True

    def group_of(self, raw: str, *, public: bool) -> str:
        """Return the group that a transaction is for, private or public; empty for none that is known."""
        sent = bytes.fromhex(raw.removeprefix("0x"))
        if not public:
            return decode_private_transaction(sent).transaction.privacy_group_id or ""
        found = self._store.rows(_STORED, decode_public_transaction(sent).sender)
        return str(found[0][1]) if found else ""

    def sent_by_node(self, life: Life, raw: str) -> None:
        """Look at a private transaction whose marker a node is to sign: old nodes' additions only, and only once."""
        private = bytes.fromhex(raw.removeprefix("0x"))
        found = self._store.rows(
            "SELECT a.change_id, c.privacy_group_id, a.action, a.node, a.private_nonce, a.attempt_id FROM attempts a "
            "JOIN changes c USING (change_id) WHERE a.raw = ? AND json_extract(a.marker, '$.account') = ''",
            private,
        )
        if self._world.profile.besu_version != WITHOUT_BUNDLES or not found:
            self._store.broke(life, "has a node sign the marker, which nothing can take back")
            return
        change_id, group, action, node, private_nonce, attempt_id = found[-1]
        carrier = Carrier(
            account="",
            change_id=change_id,
            group=group,
            action=Action(action),
            node=node,
            private_nonce=private_nonce,
            raw=private,
            bundles=True,
            attempt_id=attempt_id,
            offered=True,
        )
        earlier = self._by_node.get(private)
        if earlier is not None and self._can_be_mined(earlier) and not self._world.reorganises:
            self._store.broke(life, f"sends {action} again while its first marker can be mined")
        self._check_competing(life, carrier)
        self._check_lock(life, carrier)
        # A reorganisation may take a lock back under an addition, which is then mined in vain: under the lock that
        # follows, with the same private nonce, the next attempt has the same bytes.
        if earlier is None or (earlier.block is not None and earlier.attempt_id != attempt_id):
            self._by_node[private] = carrier

    def _can_be_mined(self, carrier: Carrier) -> bool:
        if carrier.account or carrier.block is not None:
            return carrier.offered and carrier.block is None
        pending = self._world.emulation.network.pool.pending()
        return any(self.truth.private_of(transaction) == carrier.raw for transaction in pending)

    def _all(self) -> Iterator[Carrier]:
        return itertools.chain(self._carriers.values(), self._by_node.values())

    def _check_competing(self, life: Life, carrier: Carrier) -> None:
        """Nothing else of ours can be mined that could execute besides: reorganisations put such things back."""
        if self._world.reorganises:
            return
        for other in self._open(carrier.group):
            if other is carrier or (other.raw == carrier.raw and not other.account):
                continue
            if other.bundles:
                # The node that sent it and the new member would fall back to its bundle (docs/besu.md#stale-bundles).
                self._store.broke(life, f"broadcasts {carrier.action} while an addition of the group can be mined")
            elif other.raw == carrier.raw:
                self._store.broke(life, f"broadcasts a second marker of {carrier.action} while the first can be mined")
            elif other.private_nonce != carrier.private_nonce and other.private_nonce >= self._used(carrier):
                numbers = f"private nonce {carrier.private_nonce} while {other.private_nonce} can be mined"
                self._store.broke(life, f"broadcasts {carrier.action} with {numbers}")

    def _check_lock(self, life: Life, carrier: Carrier) -> None:
        """An addition goes out under its lock: whoever starts after something else happened in the group can see it."""
        profile = self._world.profile
        if carrier.action is not Action.ADD or not carrier.bundles or self._world.reorganises or profile.late_replica:
            return
        known = self.truth.executed(carrier.group)
        ours = [at for at, (_, record) in enumerate(known) if self._is_lock_of(record.signed.raw, carrier)]
        if ours and ours[-1] + 1 < len(known) and known[ours[-1] + 1][0] <= life.heads[carrier.node]:
            self._store.broke(life, f"broadcasts an addition though the group moved in block {known[ours[-1] + 1][0]}")

    def _is_lock_of(self, raw: bytes, addition: Carrier) -> bool:
        found = next((c for c in self._carriers.values() if c.raw == raw), None)
        return found is not None and found.action is Action.LOCK and found.private_nonce == addition.private_nonce - 1

    def _open(self, group: str) -> Iterator[Carrier]:
        return (carrier for carrier in self._all() if carrier.group == group and self._can_be_mined(carrier))

    def _used(self, carrier: Carrier) -> int:
        record = self.truth.last(carrier.group)
        return record.state.private_nonces.get(OWNER_ADDRESS, 0) if record is not None else 0

    # --- blocks ----------------------------------------------------------------------------------------------------

    def _left(self, _: int) -> None:
        """Blocks were taken off the chain: what they held can be mined again."""
        newest = self._world.emulation.network.chain.head.number
        self.truth.forget_after(newest)
        for carrier in self._all():
            if carrier.block is not None and carrier.block > newest:
                carrier.block, carrier.executes, carrier.stale = None, False, False

    def _made(self, block: Block, _: bytes) -> None:
        """Look at a block before any node imports it."""
        for transaction in block.transactions:
            carrier = self._carriers.get(transaction.sender)
            if carrier is None and self._by_node:
                carrier = self._by_node.get(self.truth.private_of(transaction))
            if carrier is not None:
                self._look_at(block, carrier, transaction)
            elif self.truth.outdates(transaction):
                self.harmed.add(self.truth.group_of(transaction))
            near = carrier is None and self.truth.is_near(block, transaction)
            group, before = self.truth.group_of(transaction), self.truth.last(self.truth.group_of(transaction))
            self.truth.execute(block, transaction)
            if near and before is not None:
                self.harmed |= self.truth.beside(group, before)

    def _look_at(self, block: Block, carrier: Carrier, transaction: PublicTransaction) -> None:
        if carrier.block is not None:
            self._store.broke(None, f"block {block.number} holds a second transaction of a marker of {carrier.action}")
        if transaction.is_marker:
            additions = [c for c in self._open(carrier.group) if c.bundles and c is not carrier]
            if carrier.action is Action.UNLOCK and additions:
                self._store.broke(None, f"an unlock is mined in block {block.number} while an addition can be")
            if carrier.bundles and not self._world.reorganises:
                self._check_window(block, carrier)
            if self._world.profile.losses:
                self._check_repair(block, carrier)
        carrier.block, carrier.executes = block.number, transaction.is_marker

    def _check_repair(self, block: Block, carrier: Carrier) -> None:
        """A repair takes out nobody whose node is well, and brings back nobody whom others took out."""
        found = self._store.rows(
            "SELECT a.members FROM attempts a JOIN changes c USING (change_id) "
            "WHERE a.raw = ? AND c.repair IS NOT NULL",
            carrier.raw,
        )
        last = self.truth.last(carrier.group)
        if not found or last is None or carrier.action not in (Action.REMOVE, Action.ADD):
            return
        for node in self._world.emulation.network.nodes:
            if node.key not in json.loads(found[0][0]):
                continue
            seen = state_at(node, group_bytes(carrier.group), block.number - 1)
            if carrier.action is Action.REMOVE and seen is not None and seen.root == last.state.root:
                self._store.broke(None, f"a repair removes node {node.number}, which is well, in block {block.number}")
            removal = self.truth.removal_of(carrier.group, node.key)
            ours = any(other.raw == removal and other.change_id == carrier.change_id for other in self._all())
            if carrier.action is Action.ADD and not ours:
                self._store.broke(None, f"a repair adds node {node.number}, which others removed")

    def _check_window(self, block: Block, carrier: Carrier) -> None:
        """An addition follows its own lock, after a whole block, with nothing between them."""
        known = self.truth.executed(carrier.group)
        if not known or not self._is_lock_of(known[-1][1].signed.raw, carrier):
            if carrier.action is not Action.ADD:
                return  # an addition of nobody, which unlocks on old versions, whoever has locked
            carrier.stale = True
            if not self._world.profile.foreign:
                self._store.broke(None, f"an addition is mined in block {block.number} without its lock")
            return
        locked_in, _ = known[-1]
        if block.number - locked_in < LOCK_WINDOW_BLOCKS:
            self._store.broke(None, f"an addition is mined in block {block.number}, its lock in {locked_in}")
