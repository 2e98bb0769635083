"""A privacy group and the chain that holds its transactions, as small as the rules of membership need them.

One group, one owner account, any number of clients of that account; who mines what in which order, and what is lost, is
the caller's choice. The facts are those of docs/besu.md#nonces, #life-of-a-change, #outcomes.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.membership.model import Action, GroupView

GROUP = "Z3JvdXAtb2YtdGhlLXNpbXVsYXRpb24tMDAwMDAwMDA="


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateTransaction:
    """A signed private transaction; equal fields sign to equal bytes (a client's fields have its own gas limit)."""

    action: Action
    members: tuple[str, ...]
    private_nonce: int
    client: str

    @property
    def raw(self) -> bytes:
        """The signed bytes."""
        return f"{self.client}/{self.private_nonce}/{self.action}/{','.join(self.members)}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A PMT: one send of a private transaction."""

    pmt_hash: str
    transaction: PrivateTransaction
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """The group after a block."""

    exists: bool = False
    participants: tuple[str, ...] = ()
    locked_by: str | None = None
    version: int = 0
    private_nonce: int = 0
    root: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a mined PMT came to."""

    marker: Marker
    executed: bool
    reason: str | None
    block_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedBlock:
    """A block, and the group after it."""

    number: int
    block_hash: str
    outcomes: tuple[Outcome, ...]
    state: GroupState


class SimulatedChain:
    """The chain as every node has it.

    Args:
        participants: Members of the group at block 0; none for no group.
        confirmations: No block that lies this deep is ever reorganised away.
    """

    def __init__(self, participants: Sequence[str] = (), confirmations: int = 0) -> None:
        state = GroupState(exists=bool(participants), participants=tuple(participants), version=int(bool(participants)))
        self.blocks = [SimulatedBlock(number=0, block_hash="0x0", outcomes=(), state=state)]
        self.pool: list[Marker] = []
        self.confirmations = confirmations
        self.final = 0
        self._made = 0

    @property
    def head(self) -> SimulatedBlock:
        """The newest block."""
        return self.blocks[-1]

    @property
    def deep(self) -> SimulatedBlock:
        """The newest block that no reorganisation takes back."""
        return self.blocks[self.final]

    def view(self, number: int) -> GroupView:
        """Return the group at a block, as a node shows it."""
        state = self.blocks[number].state
        if not state.exists:
            return GroupView(block_number=number, exists=False)
        return GroupView(
            block_number=number,
            exists=True,
            participants=state.participants,
            locked=state.locked_by is not None,
            version=f"0x{state.version:064x}",
            state_root=f"0x{state.root:064x}",
        )

    def submit(self, transaction: PrivateTransaction) -> str:
        """Put a PMT for a private transaction into the pool; returns its hash."""
        self._made += 1
        marker = Marker(pmt_hash=f"0xp{self._made}", transaction=transaction, version=self.head.state.version)
        self.pool.append(marker)
        return marker.pmt_hash

    def mine(self, pmt_hashes: Iterable[str] | None = None) -> SimulatedBlock:
        """Make a block of these PMTs, in this order; of all in the pool when none are named."""
        wanted = [marker.pmt_hash for marker in self.pool] if pmt_hashes is None else list(pmt_hashes)
        markers = [marker for name in wanted for marker in self.pool if marker.pmt_hash == name]
        self.pool = [marker for marker in self.pool if marker not in markers]
        state, number, outcomes = self.head.state, len(self.blocks), []
        for marker in markers:
            reason = _refusal(state, marker)
            if reason is None:
                state = _executed(state, marker.transaction)
            outcomes.append(Outcome(marker=marker, executed=reason is None, reason=reason, block_number=number))
        self._made += 1
        self.blocks.append(
            SimulatedBlock(number=number, block_hash=f"0xb{self._made}", outcomes=tuple(outcomes), state=state)
        )
        self.final = max(self.final, number - self.confirmations)
        return self.head

    def reorganise(self, depth: int) -> None:
        """Take the newest blocks back; their PMTs return to the pool."""
        keep = max(len(self.blocks) - depth, self.final + 1)
        for block in self.blocks[keep:]:
            self.pool += [outcome.marker for outcome in block.outcomes]
        del self.blocks[keep:]

    def lose(self, pmt_hashes: Iterable[str]) -> None:
        """Forget PMTs that are in the pool: they are never mined."""
        lost = set(pmt_hashes)
        self.pool = [marker for marker in self.pool if marker.pmt_hash not in lost]

    def outcomes(self, raw: bytes) -> list[Outcome]:
        """Return what became of the mined PMTs that carry these bytes, oldest first."""
        return [o for block in self.blocks for o in block.outcomes if o.marker.transaction.raw == raw]

    def executed(self, client: str | None = None) -> list[PrivateTransaction]:
        """Return the private transactions that executed, oldest first; of one client, or of all."""
        done = [o.marker.transaction for block in self.blocks for o in block.outcomes if o.executed]
        return [transaction for transaction in done if client in (None, transaction.client)]


def _refusal(state: GroupState, marker: Marker) -> str | None:
    transaction = marker.transaction
    if transaction.private_nonce != state.private_nonce:
        return "wrong_private_nonce"
    if transaction.action is Action.CREATE:
        return "execution_refused" if state.exists else None
    locked = state.locked_by is not None
    needs_lock = transaction.action in (Action.ADD, Action.UNLOCK)
    if not state.exists or locked is not needs_lock or marker.version != state.version:
        return "execution_refused"
    return None


def _executed(state: GroupState, transaction: PrivateTransaction) -> GroupState:
    root = int.from_bytes(hashlib.sha256(state.root.to_bytes(32, "big") + transaction.raw).digest(), "big")
    state = replace(state, private_nonce=state.private_nonce + 1, root=root)
    present = state.participants
    match transaction.action:
        case Action.CREATE:
            return replace(state, exists=True, participants=transaction.members, version=1)
        case Action.LOCK:
            return replace(state, locked_by=transaction.client)
        case Action.UNLOCK:
            return replace(state, locked_by=None)
        case Action.ADD:
            added = tuple(key for key in transaction.members if key not in present)
            return replace(state, participants=present + added, locked_by=None, version=state.version + 1)
        case Action.REMOVE:
            left = tuple(key for key in present if key not in transaction.members)
            return replace(state, participants=left, version=state.version + 1)
