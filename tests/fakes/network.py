"""A small chain with members' nodes behind the engine's node port, for tests that need no wire.

It keeps the rules of the management contract (docs/besu.md#life-of-a-change, #nonces) and leaves everything else out;
the emulated network in `orchestrator.devnet` is the faithful one.
"""

import asyncio
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.engine.attempts.marker_accounts import OneTimeAccounts
from orchestrator.engine.ports.nodes import Block, Head, MarkerAccount, NodeError, NodeTraits, PmtOutcome, Said
from orchestrator.engine.runtime.leases import require_to_send
from orchestrator.membership.attempt import Action, Marker
from orchestrator.membership.forecast.blocks import PRIVACY_PRECOMPILE, ChainBlock, PublicTransaction
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.membership.model import GroupView
from orchestrator.membership.reasons.table import Reason

CHAIN_ID = 1337


def digest(*parts: object) -> str:
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass
class Group:
    """One group's state and its views by block."""

    owner: str
    participants: tuple[str, ...] = ()
    locked: bool = False
    version: int = 0
    transactions: int = 0
    nonces: dict[str, int] = field(default_factory=dict)
    views: dict[int, GroupView] = field(default_factory=dict)


class FakeContract:
    """`orchestrator.engine.ports.nodes.Contract`, as JSON."""

    def payload(self, action: Action, members: Sequence[str], abi: str) -> bytes:
        return json.dumps({"action": action.value, "members": list(members), "abi": abi}).encode()

    def unlock_by_empty_add(self, abi: str) -> bytes:
        return json.dumps({"action": "add", "members": [], "abi": abi}).encode()


class FakeSigners:
    """`orchestrator.engine.ports.signers.Signers`, as JSON; counts what it signs."""

    def __init__(self, *accounts: str) -> None:
        self._accounts = accounts
        self.signed: list[bytes] = []

    @property
    def accounts(self) -> tuple[str, ...]:
        return self._accounts

    async def sign(
        self,
        *,
        account: str,
        chain_id: int,
        private_nonce: int,
        privacy_group_id: str,
        private_from: str,
        payload: bytes,
    ) -> bytes:
        ids = {"account": account, "chain_id": chain_id, "nonce": private_nonce}
        raw = json.dumps({**ids, "group": privacy_group_id, "from": private_from, **json.loads(payload)}).encode()
        self.signed.append(raw)
        return raw

    async def sign_statement(self, account: str, text: bytes) -> bytes:
        return (account.encode() + text[-65:])[-65:]


@dataclass(frozen=True)
class FakeBurn:
    """A transaction that takes a marker's account nonce."""

    raw: bytes
    transaction_hash: str


def counted_accounts() -> OneTimeAccounts:
    """Return accounts for markers that count up."""
    numbers = itertools.count(1)
    return OneTimeAccounts(lambda: MarkerAccount(account="", key=next(numbers).to_bytes(32)))


class FakeMarkers:
    """`orchestrator.engine.ports.nodes.Markers`, as JSON."""

    def make(self, payload_key: bytes, chain_id: int, account: MarkerAccount) -> Marker:
        return self._marker(account.key, payload_key, chain_id, gas_limit=100)

    def renew(self, marker: Marker) -> Marker:
        return self._marker(marker.key, marker.payload_key, marker.chain_id, gas_limit=marker.gas_limit + 1)

    def burn(self, marker: Marker, more_gas: int = 0) -> FakeBurn:
        raw = json.dumps({"account": marker.account, "carries": "", "gas_limit": 100 + more_gas}).encode()
        return FakeBurn(raw, digest("marker", raw))

    def _marker(self, key: bytes, payload_key: bytes, chain_id: int, *, gas_limit: int) -> Marker:
        account = digest("account", key)[:42]
        raw = json.dumps({"account": account, "carries": payload_key.hex(), "gas_limit": gas_limit}).encode()
        return Marker(
            account=account,
            key=key,
            payload_key=payload_key,
            gas_limit=gas_limit,
            gas_price=0,
            chain_id=chain_id,
            raw=raw,
            pmt_hash=digest("marker", raw),
        )


class FakeNetwork:
    """The chain. `mine` executes what is in the pool."""

    def __init__(self) -> None:
        self.blocks = [Block(number=0, block_hash=digest("genesis"), transactions=())]
        self.pool: list[tuple[str, bytes]] = []
        self.groups: dict[str, Group] = {}
        self.outcomes: dict[str, PmtOutcome] = {}
        self.markers: dict[str, bytes] = {}
        self.nodes: list[FakeNode] = []
        self.executed: list[dict[str, object]] = []
        self.distributed: dict[bytes, bytes] = {}
        self._spenders: list[tuple[str, int]] = []  # account and block of each mined marker and burn
        self._spends: dict[str, str] = {}
        self.public: dict[int, tuple[PublicTransaction, ...]] = {}

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    def in_full(self, number: int) -> Block:
        """Return a block whose markers each have an account of their own; `public` are those of others."""
        block = self.blocks[number]
        markers = tuple(
            PublicTransaction(
                transaction_hash=pmt_hash,
                sender=digest("account of", pmt_hash)[:42],
                to=PRIVACY_PRECOMPILE,
                value=0,
                gas_limit=3_000_000,
                gas_price=0,
                data_bytes=64 if b'"add"' in self.markers[pmt_hash] else 32,
                addition=digest("addition", pmt_hash)[2:] * 2 if b'"add"' in self.markers[pmt_hash] else "",
            )
            for pmt_hash in block.transactions
        )
        transactions = (*self.public.get(number, ()), *markers)
        content = ChainBlock(
            number=number, block_hash=block.block_hash, gas_limit=1_000_000_000, transactions=transactions
        )
        return replace(block, content=content)

    def submit(self, raw: bytes) -> str:
        pmt_hash = digest("pmt", len(self.markers), raw)
        self.markers[pmt_hash] = raw
        self.pool.append((pmt_hash, raw))
        return pmt_hash

    def distribute(self, raw: bytes) -> bytes:
        """Keep a private transaction; an addition to a group with history gets a key of the history, too."""
        call = json.loads(raw)
        parts = 2 if call["action"] == "add" and call["group"] in self.groups else 1
        payload_key = b"".join(
            hashlib.sha256(raw + bytes([part]) + len(self.distributed).to_bytes(8)).digest() for part in range(parts)
        )
        self.distributed[payload_key] = raw
        return payload_key

    def account_nonce(self, account: str, block_number: int) -> int:
        return sum(spender == account and number <= block_number for spender, number in self._spenders)

    def broadcast(self, raw: bytes, transaction_hash: str) -> None:
        """Take a marker or a burn into the pool, in place of another of its account; each account signs one."""
        sent = json.loads(raw)
        account = sent["account"]
        if self.account_nonce(account, self.head.number):
            raise NodeError(Reason(slug="marker_nonce_used"), Said.REFUSED)
        self.pool = [entry for entry in self.pool if self._spends.get(entry[0]) != account]
        self._spends[transaction_hash] = account
        carried = self.distributed[bytes.fromhex(sent["carries"])] if sent["carries"] else b""
        self.markers[transaction_hash] = carried
        self.pool.append((transaction_hash, carried))

    def mine(self, count: int = 1) -> None:
        for _ in range(count):
            number = self.head.number + 1
            mined, self.pool = self.pool, []
            block = Block(
                number=number,
                block_hash=digest("block", number, self.head.block_hash),
                transactions=tuple(pmt_hash for pmt_hash, _ in mined),
            )
            self.blocks.append(block)
            for pmt_hash, raw in mined:
                if pmt_hash in self._spends:
                    self._spenders.append((self._spends[pmt_hash], number))
                if raw:
                    self._execute(pmt_hash, json.loads(raw), block)
                else:
                    self.outcomes[pmt_hash] = PmtOutcome(
                        pmt_hash=pmt_hash, block_number=number, block_hash=block.block_hash
                    )
            for group in self.groups.values():
                self._snapshot(group, number)
            for node in self.nodes:
                node.announce()

    def drop_pool(self) -> None:
        self.pool.clear()

    def write(self, group_id: str, count: int = 1) -> None:
        """Execute application transactions in the group, one a block."""
        for _ in range(count):
            self.groups[group_id].transactions += 1
            self.mine()

    def act(self, group_id: str, action: Action, members: Sequence[str] = (), account: str | None = None) -> None:
        """Let somebody else's client change the group, in a block of its own."""
        group = self.groups[group_id]
        by = account or group.owner
        raw = {"account": by, "nonce": group.nonces.get(by, 0), "group": group_id, "from": "", "action": action.value}
        self.submit(json.dumps({**raw, "members": list(members)}).encode())
        self.mine()

    def _execute(self, pmt_hash: str, call: dict[str, object], block: Block) -> None:
        group_id, account = str(call["group"]), str(call["account"])
        group = self.groups.get(group_id)
        outcome = PmtOutcome(pmt_hash=pmt_hash, block_number=block.number, block_hash=block.block_hash)
        if group is None and call["action"] == "create":
            group = self.groups.setdefault(group_id, Group(owner=account))
        refusal = "execution_refused" if group is None else self._apply(group, account, call)
        if refusal is None and group is not None:
            group.nonces[account] = group.nonces.get(account, 0) + 1
            self.executed.append(call)
            self.outcomes[pmt_hash] = replace(outcome, executed=True)
        else:
            reason = Reason(slug=refusal or "execution_refused")
            self.outcomes[pmt_hash] = replace(outcome, executed=False, reason=reason)

    def _apply(self, group: Group, account: str, call: dict[str, object]) -> str | None:
        members = [str(key) for key in call["members"]]  # type: ignore[attr-defined] # JSON of our own making
        if call["nonce"] != group.nonces.get(account, 0):
            return "wrong_private_nonce"
        if account != group.owner:
            return "not_owner"
        match call["action"]:
            case "create":
                if group.participants:
                    return "execution_refused"
                group.participants = tuple(members)
            case "lock":
                if group.locked:
                    return "execution_refused"
                group.locked = True
                return None
            case "add":
                if not group.locked:
                    return "execution_refused"
                group.participants += tuple(key for key in members if key not in group.participants)
                group.locked = False
            case "unlock":
                if not group.locked:
                    return "execution_refused"
                group.locked = False
                return None
            case "remove":
                if group.locked:
                    return "execution_refused"
                group.participants = tuple(key for key in group.participants if key not in members)
        group.version += 1
        return None

    def _snapshot(self, group: Group, number: int) -> None:
        if not group.participants:
            return
        state = (group.owner, group.participants, group.locked, group.version, group.transactions)
        group.views[number] = GroupView(
            block_number=number,
            exists=True,
            participants=group.participants,
            locked=group.locked,
            version=digest("version", group.owner, group.version),
            state_root=digest("root", *state, sorted(group.nonces.items())),
        )


class FakeNode:
    """One member's node: sees the chain up to its own head, and groups that it was ever a member of."""

    def __init__(self, network: FakeNetwork, name: str, *enclave_keys: str) -> None:
        self.network = network
        self.name = name
        self.enclave_keys = enclave_keys
        self.barred = ""
        self.held_at: int | None = None
        self.down = False
        self.loses_group_from: int | None = None
        self.diverges_from: int | None = None
        self.replayed_through: int | None = None
        self.send_failures: list[NodeError] = []
        self.broadcast_failures: list[NodeError] = []
        self.lose_answers = 0
        self.version = (23, 10, 3)
        self.validator: bool | None = True
        self.enclave_fault: str | None = None
        self.known_keys: frozenset[str] | None = None
        self.bundle_limit_bytes: int | None = None
        self.lacks: set[str] = set()  # markers whose private receipt it has not
        self.calls = 0
        self.blocks_read = 0
        self.alone = False  # it has no peers
        self.mute = False  # its WebSocket stays open and delivers nothing
        self._subscribers: list[asyncio.Queue[Head | None]] = []
        network.nodes.append(self)

    def announce(self) -> None:
        if not self.down and not self.mute and self.held_at is None:
            for queue in self._subscribers:
                queue.put_nowait(self._head())

    def cut_subscriptions(self) -> None:
        for queue in self._subscribers:
            queue.put_nowait(None)

    def _head(self) -> Head:
        number = self.network.head.number if self.held_at is None else min(self.held_at, self.network.head.number)
        parent = self.network.blocks[max(number - 1, 0)].block_hash
        return Head(number=number, block_hash=self.network.blocks[number].block_hash, parent_hash=parent)

    def _ask(self) -> None:
        self.calls += 1
        if self.down:
            raise NodeError(Reason(slug="node_unreachable", detail=f"node {self.name}"))

    def _ask_to_send(self) -> None:
        require_to_send()
        self.calls += 1
        if self.down:
            raise NodeError(Reason(slug="node_unreachable", detail=f"node {self.name}"), Said.REFUSED)
        if self.send_failures:
            raise self.send_failures.pop(0)

    def _check_known(self, number: int) -> None:
        if number > self._head().number:
            raise NodeError(Reason(slug="not_known_here", detail=f"node {self.name} has no block {number}"))

    async def traits(self) -> NodeTraits:
        self._ask()
        return NodeTraits(besu_version=self.version, chain_id=CHAIN_ID, native_abi="bytes", validator=self.validator)

    async def head(self) -> Head:
        self._ask()
        return self._head()

    async def peers(self) -> int:
        self._ask()
        return 0 if self.alone else len(self.network.nodes) - 1

    async def enclave_trouble(self) -> str | None:
        return self.enclave_fault

    async def enclave_knows(self) -> frozenset[str] | None:
        return self.known_keys

    async def private_sizes(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[int, ...]:
        self._ask()
        held = self.network.groups.get(privacy_group_id)
        return (180,) * len(block_numbers) if held is not None else ()

    async def syncing(self) -> bool:
        self._ask()
        return False

    async def block(self, number: int) -> Block:
        self._ask()
        self.blocks_read += 1
        self._check_known(number)
        return self.network.blocks[number]

    async def blocks(self, block_numbers: Sequence[int]) -> tuple[Block, ...]:
        self._ask()
        self.blocks_read += len(block_numbers)
        if max(block_numbers, default=0) > self._head().number:
            raise NodeError(Reason(slug="node_error", detail=f"node {self.name} has no such block"))
        return tuple(self.network.in_full(number) for number in block_numbers)

    async def balances(self, accounts: Sequence[str], block_number: int) -> Mapping[str, int]:
        self._ask()
        assert block_number <= self._head().number
        return dict.fromkeys(accounts, 0)

    async def memberships(
        self, privacy_group_ids: Sequence[str], first_block: int, last_block: int
    ) -> tuple[MembershipLog, ...]:
        self._ask()
        found: list[MembershipLog] = []
        for group_id in privacy_group_ids:
            before: tuple[str, ...] = ()
            for number in range(min(last_block, self._head().number) + 1):
                present = self._view(group_id, number).participants
                came = [(key, True) for key in present if key not in before]
                left = [(key, False) for key in before if key not in present]
                for key, added in (*left, *came) if number >= first_block else ():
                    found.append(
                        MembershipLog(
                            privacy_group_id=group_id,
                            block_number=number,
                            block_hash=self.network.blocks[number].block_hash,
                            member=key,
                            added=added,
                        )
                    )
                before = present
        return tuple(found)

    async def view(self, privacy_group_id: str, block_number: int) -> GroupView:
        self._ask()
        return self._view(privacy_group_id, block_number)

    async def lock_view(self, privacy_group_id: str, block_number: int) -> GroupView:
        self._ask()
        view = self._view(privacy_group_id, block_number)
        root = view.state_root
        return GroupView(block_number=block_number, exists=view.exists, locked=view.locked, state_root=root)

    def _view(self, group_id: str, number: int) -> GroupView:
        group = self.network.groups.get(group_id)
        nothing = GroupView(block_number=number, exists=False)
        ever = group is not None and any(
            key in view.participants for view in group.views.values() for key in self.enclave_keys
        )
        self._check_known(number)
        if group is None or not ever:
            return nothing
        if self.loses_group_from is not None and number >= self.loses_group_from:
            return nothing
        view = group.views.get(number, nothing)
        if self.diverges_from is not None and number >= self.diverges_from and view.exists:
            return replace(view, state_root=digest("odd", self.name, number))
        return view

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        self._ask()
        views = (self._view(privacy_group_id, number) for number in block_numbers)
        return tuple(GroupView(block_number=v.block_number, exists=v.exists, state_root=v.state_root) for v in views)

    async def public_roots(self, block_numbers: Sequence[int]) -> tuple[tuple[str, str], ...]:
        self._ask()
        self._check_known(max(block_numbers, default=0))
        return tuple((self.network.blocks[n].block_hash, digest("public", n)) for n in block_numbers)

    async def abi(self, privacy_group_id: str) -> str | None:
        self._ask()
        return "bytes" if privacy_group_id in self.network.groups else None

    async def owns(self, privacy_group_id: str, account: str) -> bool | None:
        self._ask()
        group = self.network.groups.get(privacy_group_id)
        return None if group is None else group.owner == account

    async def private_nonce(self, privacy_group_id: str, account: str) -> int:
        self._ask()
        group = self.network.groups.get(privacy_group_id)
        return 0 if group is None else group.nonces.get(account, 0)

    async def send(self, raw: bytes) -> str:
        self._ask_to_send()
        pmt_hash = self.network.submit(raw)
        if self.lose_answers:
            self.lose_answers -= 1
            raise NodeError(Reason(slug="node_unreachable", detail="the answer was lost"), Said.PERHAPS_DONE)
        return pmt_hash

    async def pooled(self, pmt_hashes: Sequence[str]) -> bool | None:
        self._ask()
        return True if any(pmt_hash in pmt_hashes for pmt_hash, _ in self.network.pool) else None

    async def distribute(self, raw: bytes, from_block: int | None = None) -> bytes:
        assert from_block is None or self.network.head.number >= from_block
        self._ask_to_send()
        call = json.loads(raw)
        group = self.network.groups.get(call["group"])
        if group is not None and call["nonce"] < group.nonces.get(call["account"], 0):
            raise NodeError(Reason(slug="private_nonce_used"), Said.REFUSED)
        return self.network.distribute(raw)

    async def broadcast(self, raw: bytes, transaction_hash: str) -> None:
        require_to_send()
        self._ask()
        if self.broadcast_failures:
            raise self.broadcast_failures.pop(0)
        self.network.broadcast(raw, transaction_hash)
        if self.lose_answers:
            self.lose_answers -= 1
            raise NodeError(Reason(slug="node_unreachable", detail="the answer was lost"), Said.PERHAPS_DONE)

    async def account_nonce(self, account: str, block_number: int | None = None) -> int:
        self._ask()
        head = self._head().number
        self._check_known(head if block_number is None else block_number)
        return self.network.account_nonce(account, head if block_number is None else block_number)

    async def outcomes(self, pmt_hashes: Sequence[str]) -> tuple[PmtOutcome, ...]:
        self._ask()
        outcomes = (self.network.outcomes.get(h, PmtOutcome(pmt_hash=h)) for h in pmt_hashes)
        return tuple(replace(o, executed=None, reason=None) if o.pmt_hash in self.lacks else o for o in outcomes)

    async def additions(self, first_block: int, last_block: int) -> tuple[int, ...]:
        self._ask()
        blocks = self.network.blocks[first_block : min(last_block, self._head().number) + 1]
        return tuple(b.number for b in blocks if any(b'"add"' in self.network.markers[h] for h in b.transactions))

    async def has_state(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[bool, ...]:
        self._ask()
        if self.replayed_through is not None:
            reached = self.replayed_through
            group = self.network.groups.get(privacy_group_id, Group(owner=""))
            return tuple(number in group.views and number <= reached for number in block_numbers)
        return tuple(self._view(privacy_group_id, number).exists for number in block_numbers)

    async def groups(self, enclave_keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        self._ask()
        head = self._head().number
        views = {group_id: self._view(group_id, head) for group_id in self.network.groups}
        return {
            group_id: view.participants
            for group_id, view in views.items()
            if view.exists and set(enclave_keys).issubset(view.participants)
        }

    async def root_if_any(self, privacy_group_id: str, block_number: int) -> GroupView:
        return (await self.roots(privacy_group_id, [block_number]))[0]

    async def roots_of(self, privacy_group_ids: Sequence[str], block_number: int) -> tuple[GroupView, ...]:
        self._ask()
        return tuple([(await self.roots(group, [block_number]))[0] for group in privacy_group_ids])

    async def heads(self) -> AsyncIterator[Head]:
        queue: asyncio.Queue[Head | None] = asyncio.Queue(100)
        self._subscribers.append(queue)
        try:
            while (head := await queue.get()) is not None:
                yield head
            raise NodeError(Reason(slug="node_unreachable", detail="the socket was cut"))
        finally:
            self._subscribers.remove(queue)
