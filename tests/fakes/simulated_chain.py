"""A privacy group and the chain that holds its transactions, as small as the rules of membership need them.

One group, one owner account, any number of clients of that account; who mines what in which order, and what pools keep
to themselves or lose, is the caller's choice. The facts are those of
docs/besu.md#markers, #life-of-a-change, #outcomes, #stale-bundles.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.membership.attempt import Action
from orchestrator.membership.model import GroupView
from orchestrator.membership.retry import LOCK_WINDOW_BLOCKS

GROUP = "Z3JvdXAtb2YtdGhlLXNpbXVsYXRpb24tMDAwMDAwMDA="
DAEMON = "daemon"
"""The client whose harm is a defect; others may do what they like."""


class HarmError(AssertionError):
    """The daemon did what damages a group."""


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
class GroupState:
    """The group after a transaction."""

    exists: bool = False
    participants: tuple[str, ...] = ()
    locked_by: str | None = None
    version: int = 0
    private_nonce: int = 0
    root: int = 0

    def view(self, number: int) -> GroupView:
        """Return the group as a node shows it at a block."""
        if not self.exists:
            return GroupView(block_number=number, exists=False)
        return GroupView(
            block_number=number,
            exists=True,
            participants=self.participants,
            locked=self.locked_by is not None,
            version=f"0x{self.version:064x}",
            state_root=f"0x{self.root:064x}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A distributed private transaction.

    Attributes:
        key: What the enclaves know it by.
        transaction: The transaction.
        version: The group's version when it was distributed.
        bundle: Where the history ends that an addition of ours brings; None for what brings none. (What a foreign
            addition does to its own sender is not ours to tell, so it brings none here.)
    """

    key: bytes
    transaction: PrivateTransaction
    version: int
    bundle: GroupState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTransaction:
    """What carries a payload, or burns its account's nonce: of all with the same account one can be mined."""

    pmt_hash: str
    account: str
    payload: Payload | None

    @property
    def burns(self) -> bool:
        """Whether it carries nothing."""
        return self.payload is None

    @property
    def transaction(self) -> PrivateTransaction:
        """What it carries."""
        if self.payload is None:
            raise AssertionError(f"{self.pmt_hash} carries nothing")
        return self.payload.transaction


class Stuck(StrEnum):
    """How a pool keeps a public transaction to itself."""

    UNTIL_WIDELY = "until it is broadcast through other nodes, too"
    UNTIL_RENEWED = "for good: only another transaction of its account can be mined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a mined public transaction came to.

    Attributes:
        public: The transaction.
        executed: Whether the members in general executed what it carries.
        reason: Why they did not.
        block_number: Its block.
        state: The group after it.
        apart: The group on the sender's and the newcomers' nodes, when they alone executed an addition on the older
            state that its bundle brought.
    """

    public: PublicTransaction
    executed: bool
    reason: str | None
    block_number: int
    state: GroupState
    apart: GroupState | None = None


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

    Attributes:
        pool: What may be mined, in the order in which it reached the pools.
        stuck: What of that one pool keeps to itself, by hash.
        later_replaces: Of two transactions of one account the later one takes the place of the earlier in the pools
            (Besu from 23.10.2 on); else the first one stays. What `mine` is told to mine wins in any case.
        unseen: Members whose nodes nobody shows us: where only the sender's is left, the chain is as that one shows it.
        reorganised: A reorganisation has happened: what floats since then may be mined again in any order, by nobody's
            fault.
    """

    def __init__(self, participants: Sequence[str] = (), confirmations: int = 0) -> None:
        state = GroupState(exists=bool(participants), participants=tuple(participants), version=int(bool(participants)))
        self.blocks = [SimulatedBlock(number=0, block_hash="0x0", outcomes=(), state=state)]
        self.pool: list[PublicTransaction] = []
        self.stuck: dict[str, Stuck] = {}
        self.later_replaces = True
        self.confirmations = confirmations
        self.final = 0
        self.reorganised = False
        self.unseen: set[str] = set()
        self._passed_over: list[PublicTransaction] = []
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
        return self.blocks[number].state.view(number)

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of everything that is mined, oldest first."""
        return [outcome for block in self.blocks for outcome in block.outcomes]

    def mined(self, pmt_hash: str) -> Outcome | None:
        """Return what became of a public transaction; None while it is in no block."""
        return next((outcome for outcome in self.outcomes if outcome.public.pmt_hash == pmt_hash), None)

    def used(self, account: str) -> bool:
        """Return whether an account's one nonce is used: nothing else of it can be mined."""
        return any(outcome.public.account == account for outcome in self.outcomes)

    def executed(self, client: str | None = None) -> list[PrivateTransaction]:
        """Return the private transactions that executed, oldest first; of one client, or of all."""
        done = [outcome.public.transaction for outcome in self.outcomes if outcome.executed]
        return [transaction for transaction in done if client in (None, transaction.client)]

    # --- what is sent -----------------------------------------------------------------------------------------------

    def distribute(self, transaction: PrivateTransaction) -> Payload:
        """Store a private transaction in the enclaves, an addition of ours with the history as it is now."""
        self._made += 1
        state = self.head.state
        brings = transaction.action is Action.ADD and transaction.client == DAEMON
        return Payload(
            key=f"payload {self._made}".encode(),
            transaction=transaction,
            version=state.version,
            bundle=state if brings else None,
        )

    def broadcast(self, public: PublicTransaction, *, widely: bool = True, stuck: Stuck | None = None) -> bool:
        """Put a public transaction into the pools; returns False when its account's nonce is used already.

        Args:
            public: The transaction; one that a pool has already does not come a second time.
            widely: Through every node.
            stuck: What the one pool does with it that it came through.
        """
        if self.used(public.account):
            return False
        if public not in self.pool:
            self.pool.append(public)
            if stuck is not None:
                self.stuck[public.pmt_hash] = stuck
        if widely and self.stuck.get(public.pmt_hash) is Stuck.UNTIL_WIDELY:
            del self.stuck[public.pmt_hash]
        return True

    def submit(self, transaction: PrivateTransaction) -> str:
        """Send a private transaction the way other clients do; returns the hash of its marker."""
        payload = self.distribute(transaction)
        name = f"0xp{self._made}"
        self.broadcast(PublicTransaction(pmt_hash=name, account=f"account of {name}", payload=payload))
        return name

    def lose(self, pmt_hashes: Iterable[str]) -> None:
        """Forget what is in the pools: it is not mined unless somebody broadcasts it again."""
        lost = set(pmt_hashes)
        self.pool = [public for public in self.pool if public.pmt_hash not in lost]
        self.stuck = {name: how for name, how in self.stuck.items() if name not in lost}

    # --- blocks -----------------------------------------------------------------------------------------------------

    def mine(self, pmt_hashes: Iterable[str] | None = None) -> SimulatedBlock:
        """Make a block of these, in this order; of all that a validator's pool offers when none are named."""
        named = self._offered() if pmt_hashes is None else list(pmt_hashes)
        wanted = [public for name in named for public in self.pool if public.pmt_hash == name]
        state, number = self.head.state, len(self.blocks)
        outcomes: list[Outcome] = []
        for public in wanted:
            if public.pmt_hash in self.stuck or any(o.public.account == public.account for o in outcomes):
                continue
            outcome = self._outcome(state, public, number)
            state = outcome.state
            self._look_for_harm([*self.outcomes, *outcomes], outcome)
            outcomes.append(outcome)
        accounts = {outcome.public.account for outcome in outcomes}
        self._passed_over += [public for public in self.pool if public.account in accounts]
        self.lose([public.pmt_hash for public in self.pool if public.account in accounts])
        self._made += 1
        self.blocks.append(
            SimulatedBlock(number=number, block_hash=f"0xb{self._made}", outcomes=tuple(outcomes), state=state)
        )
        self.final = max(self.final, number - self.confirmations)
        return self.head

    def reorganise(self, depth: int) -> None:
        """Take the newest blocks back; what they held, and what that kept out of them, may be mined again."""
        keep = max(len(self.blocks) - depth, self.final + 1)
        if keep >= len(self.blocks):
            return
        self.reorganised = True
        del self.blocks[keep:]
        free = [public for public in self._passed_over if not self.used(public.account) and public not in self.pool]
        self.pool += free
        self._passed_over = [public for public in self._passed_over if public not in free]

    def _offered(self) -> list[str]:
        chosen: dict[str, str] = {}
        for public in self.pool:
            if public.pmt_hash in self.stuck:
                continue
            if self.later_replaces or public.account not in chosen:
                chosen[public.account] = public.pmt_hash
        return list(chosen.values())

    def _outcome(self, state: GroupState, public: PublicTransaction, number: int) -> Outcome:
        payload = public.payload
        if payload is None:
            return Outcome(public=public, executed=False, reason=None, block_number=number, state=state)
        old = payload.bundle
        if old is not None and old.root != state.root and self._was(old, state):
            # The sender and the newcomers fall back to where the bundle ends, and go on from there alone.
            moved = _executed(old, payload.transaction) if _refusal(old, payload) is None else old
            if len(set(state.participants) - self.unseen) == 1:  # nobody that we see is left behind
                return Outcome(public=public, executed=moved is not old, reason=None, block_number=number, state=moved)
            reason = _refusal(state, payload) or "execution_refused"
            return Outcome(
                public=public,
                executed=False,
                reason=reason,
                block_number=number,
                state=state,
                apart=moved if moved is not old else None,
            )
        refusal = _refusal(state, payload)
        after = _executed(state, payload.transaction) if refusal is None else state
        return Outcome(public=public, executed=refusal is None, reason=refusal, block_number=number, state=after)

    def _was(self, bundle: GroupState, state: GroupState) -> bool:
        """Whether the group went on from a bundle's end to a state (and was not taken back by a reorganisation)."""
        roots = {self.blocks[0].state.root, *(outcome.state.root for outcome in self.outcomes)}
        return bundle.root in roots and state.private_nonce >= bundle.private_nonce

    def _look_for_harm(self, before: list[Outcome], new: Outcome) -> None:
        payload = new.public.payload
        if payload is None or payload.transaction.client != DAEMON or self.reorganised:
            return
        carried = [(o, o.public.payload) for o in before if o.public.payload is not None]
        if any(other.key == payload.key for _, other in carried):
            raise HarmError(f"two markers of one payload are mined: {new.public}")
        if payload.bundle is None:
            return
        if any(other.transaction.raw == payload.transaction.raw for _, other in carried):
            raise HarmError(f"two markers of one addition are mined: {new.public}")
        if not new.executed and new.apart is None:
            return
        since = [o for o in before if o.executed and o.public.transaction.private_nonce >= payload.bundle.private_nonce]
        if any(o.public.transaction.client == DAEMON for o in since):
            raise HarmError(f"{new.public} is mined after another transaction of ours: {since}")
        locks = [o for o in before if o.executed and o.public.transaction.action is Action.LOCK]
        locked_at = max((o.block_number for o in locks if o.public.transaction.client == DAEMON), default=0)
        if new.executed and new.block_number - locked_at < LOCK_WINDOW_BLOCKS:
            raise HarmError(f"{new.public} in block {new.block_number} is too near to its lock in block {locked_at}")


def _refusal(state: GroupState, payload: Payload) -> str | None:
    transaction = payload.transaction
    if transaction.private_nonce != state.private_nonce:
        return "wrong_private_nonce"
    if transaction.action is Action.CREATE:
        return "execution_refused" if state.exists else None
    locked = state.locked_by is not None
    needs_lock = transaction.action in (Action.ADD, Action.UNLOCK)
    if not state.exists or locked is not needs_lock or payload.version != state.version:
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
