"""Random histories of several groups, played to an emulated network and to the plain model of replays at once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest
from eth_hash.auto import keccak
from hypothesis import strategies as st

from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    Method,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.besu.codec.private_transaction import PrivateTransaction, sign_private_transaction
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.encoding import to_base64
from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.nodes.private_view import history_bundle
from tests.fakes.replay_model import GroupValue, Marker, MinedBlock, ModelNode, Sent
from tests.unit.devnet.driving import ACCOUNT_KEYS, APPLICATION, Driver

BLOCKS: Final = 14
NODES: Final = ("T", "S", "N", "M")
"""T and S found every group, N and M come and go."""
FOUNDERS: Final = {"G": ("T", "S"), "H": ("T", "S", "M"), "X": ("T", "S", "N")}


@dataclass(frozen=True, slots=True)
class Act:
    """One private transaction and what becomes of it.

    Attributes:
        kind, group, keys, sender: as in the model.
        submitted: the sender's head at submission.
        mined: blocks that hold a marker of it; the later ones are copies of the first.
    """

    kind: str
    group: str
    keys: tuple[str, ...]
    sender: str
    submitted: int
    mined: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class History:
    """Acts, and blocks that also hold two public transactions of one account."""

    acts: tuple[Act, ...]
    unreplayable: frozenset[int] = frozenset()


_groups = st.sampled_from(sorted(FOUNDERS))
_senders = st.sampled_from(["T", "T", "S"])
_blocks = st.integers(2, BLOCKS - 2)


@st.composite
def _writes(draw: st.DrawFn) -> list[Act]:
    block = draw(_blocks)
    return [Act("write", draw(_groups), (), draw(_senders), block - 1, (block,))]


@st.composite
def _removals(draw: st.DrawFn) -> list[Act]:
    block = draw(_blocks)
    return [Act("remove", draw(_groups), (draw(st.sampled_from(["N", "M", "S"])),), "T", block - 1, (block,))]


@st.composite
def _additions(draw: st.DrawFn) -> list[Act]:
    """A lock, perhaps something that comes between, and an addition: late, doubled or copied now and then."""
    group, sender, locked = draw(_groups), draw(_senders), draw(_blocks)
    keys = draw(st.sampled_from([("N",), ("N",), ("M",), ("N", "M"), ("S",), ()]))
    first = locked + draw(st.integers(1, 3))
    lag = draw(st.sampled_from([0, 0, 0, 1, 2]))
    copies = draw(st.sampled_from([(), (), (), (1,), (2,), (1, 3)]))
    acts = [Act("lock", group, (), draw(_senders), locked - 1, (locked,))]
    between = draw(st.sampled_from([(), (), (), ("unlock",), ("unlock", "write"), ("unlock", "write", "lock")]))
    for at, kind in enumerate(between, start=locked + 1):
        acts.append(Act(kind, group, (), "T", at - 1, (at,)))
    acts.append(Act("add", group, keys, sender, first - 1 - lag, (first, *(first + late for late in copies))))
    again = draw(st.sampled_from([None, None, None, 0, 1]))
    if again is not None:
        acts.append(Act("add", group, keys, draw(_senders), first - 1, (first + again,)))
    return acts


@st.composite
def histories(draw: st.DrawFn) -> History:
    """A history of up to ten such scenarios, mixed."""
    scenarios = draw(st.lists(st.one_of(_additions(), _writes(), _removals()), min_size=1, max_size=10))
    acts = draw(st.permutations([act for scenario in scenarios for act in scenario]))
    return History(tuple(acts), draw(st.frozensets(_blocks, max_size=2)))


@dataclass
class Harness:
    """A network and the model of its nodes, which live through the same history.

    Attributes:
        driver: the network; node 1 is T, 2 is S and so on.
        model: the model's nodes.
        chain: the model's blocks, from the genesis block on.
        markers: the model's marker by a marker transaction's hash.
    """

    driver: Driver = field(default_factory=lambda: Driver(nodes=len(NODES), validators=1))
    model: dict[str, ModelNode] = field(default_factory=lambda: {name: ModelNode(name) for name in NODES})
    chain: list[MinedBlock] = field(default_factory=lambda: [MinedBlock(())])
    markers: dict[bytes, Marker] = field(default_factory=dict)
    _serial: int = 0

    def play(self, history: History) -> Iterator[None]:
        """Create the groups and live through a history; pauses after each block."""
        creations = [Act("create", group, keys, "T", 0, (1,)) for group, keys in FOUNDERS.items()]
        acts = (*creations, *history.acts)
        sent: dict[int, tuple[Sent, bytes]] = {}
        for block in range(1, BLOCKS + 1):
            for at, act in enumerate(acts):
                if act.submitted == block - 1 and (submitted := self._submit(act)) is not None:
                    sent[at] = submitted
            mined = [sent[at] for at, act in enumerate(acts) for number in act.mined if number == block and at in sent]
            self._mine(mined, replayable=block not in history.unreplayable)
            yield

    def group_bytes(self, group: str) -> bytes:
        """The id of a group."""
        return keccak(group.encode())

    def bundle(self, node: str, group: str) -> list[Marker]:
        """The markers of the history that an emulated node would bundle now."""
        emulated = self.driver.network.nodes[NODES.index(node)]
        enclaves = self.driver.network.enclaves
        found = history_bundle(enclaves, emulated, self.group_bytes(group), emulated.head.number)
        return [self.markers[record.pmt_hash] for record in found]

    def root(self, node: str, group: str, block: int) -> bytes | None:
        """The state root that an emulated node has for a block; None when it has none."""
        timeline = self.driver.network.nodes[NODES.index(node)].timelines.get(self.group_bytes(group))
        state = timeline.state_at(block) if timeline is not None else None
        return state.root if state is not None else None

    def _submit(self, act: Act) -> tuple[Sent, bytes] | None:
        node = self.model[act.sender]
        value = node.value_at(act.group, node.head) or GroupValue()
        adds = act.kind in ("create", "add")
        may_send = act.sender in value.members or (adds and act.sender in act.keys)
        self._serial += 1
        audience = frozenset((act.sender, *value.members, *(act.keys if adds else ())))
        bundle = node.bundle(act.group) if act.kind == "add" else ()
        sent = Sent(
            group=act.group,
            kind=act.kind,
            keys=act.keys,
            sender=act.sender,
            head=node.head,
            count=value.owner_count,
            version=value.version,
            audience=audience,
            bundle=bundle,
            serial=self._serial,
        )
        raw, number = self._signed(sent), NODES.index(act.sender) + 1
        if not may_send:
            with pytest.raises(RpcError, match="Privacy group does not exist"):
                self.driver.call(number, "priv_distributeRawTransaction", raw)
            return None
        payload = self.driver.call(number, "priv_distributeRawTransaction", raw)
        assert len(payload) == (130 if sent.bundle else 66)
        return sent, bytes.fromhex(payload[2:])

    def _signed(self, sent: Sent) -> str:
        driver = self.driver
        keys = [driver.keys[NODES.index(name)] for name in sent.keys]
        is_written = sent.kind == "write"
        transaction = PrivateTransaction(
            private_nonce=0 if is_written else sent.count,
            private_from=driver.keys[NODES.index(sent.sender)],
            to=APPLICATION if is_written else MANAGEMENT_PROXY,
            data={
                "write": lambda: b"%d" % sent.serial,
                "lock": lambda: encode_call(Method.LOCK),
                "unlock": lambda: encode_call(Method.UNLOCK),
                "create": lambda: encode_add_participants(driver.abi, keys),
                "add": lambda: encode_add_participants(driver.abi, keys),
                "remove": lambda: encode_remove_participant(driver.abi, keys[0]),
            }[sent.kind](),
            privacy_group_id=to_base64(self.group_bytes(sent.group)),
            chain_id=1337,
        )
        # Each write has an account of its own, so that nobody waits for a nonce.
        key = keccak(b"writer %d" % sent.serial).hex() if is_written else ACCOUNT_KEYS[0]
        return "0x" + sign_private_transaction(transaction, key).hex()

    def _mine(self, mined: list[tuple[Sent, bytes]], *, replayable: bool) -> None:
        transactions: list[PublicTransaction] = []
        markers = []
        for sent, payload in mined:
            transactions.append(self.driver.marker(payload))
            markers.append(Marker(sent))
            self.markers[transactions[-1].hash] = markers[-1]
        if not replayable:
            transactions += self.driver.pair_of_one_account()
        self.driver.network.append_block(transactions)
        self.chain.append(MinedBlock(tuple(markers), replayable))
        for node in self.model.values():
            node.take(self.chain)


def check_same(pairs: Iterable[tuple[object, object]]) -> None:
    """Fail unless equal first items always come with equal second items."""
    found: dict[object, object] = {}
    for one, other in pairs:
        assert found.setdefault(one, other) == other
