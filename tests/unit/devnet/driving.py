"""Driving an emulated network in one process: no sockets, no waiting."""

from dataclasses import replace
from typing import Any

from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    Method,
    decode_participants,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.besu.codec.private_transaction import (
    PrivateTransaction,
    address_of_private_key,
    sign_private_transaction,
)
from orchestrator.devnet.chain.public_signatures import SigningAccount
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.emulation import Emulation
from orchestrator.devnet.network.submission import Submission
from orchestrator.devnet.rpc.dispatch import Caller
from tests.fakes.public_transactions import PublicTransactions

GROUP = "X/jwcb97V5pnDmFMgnjnI1XAJMls4t8eCb25J4SsZU0="
OTHER_GROUP = "NU8/7jOuUPbUnsHYoQ78GUhY26GwmjS7dUATb2eqRMY="
APPLICATION = "0x" + "11" * 20
ACCOUNT_KEYS = (
    # The well-known public development keys.
    "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63",
    "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3",
    "ae6ae8e5ccbfb04590405997ee2d52d2b330726137b875053c36d94e974d162f",
)
OWNER, OTHER = (address_of_private_key(key) for key in ACCOUNT_KEYS[:2])
DEFAULTS = DevnetConfig(
    base_port=0, block_period_seconds=0, replay_ms_per_transaction=0, submission_ms=0, enclave_timeout_ms=5000
)


class Driver(PublicTransactions):
    """A network, a clock, and what a client does.

    Attributes:
        emulation: the network.
        now: seconds; moved by hand.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.emulation = Emulation(replace(DEFAULTS, **options))
        self.network = self.emulation.network
        self.now = 0.0
        self.abi = self.network.behaviour.abi
        self.keys = [node.key for node in self.network.nodes]

    def call(self, node: int, method: str, *params: Any, tenant: str | None = None, connection: Any = None) -> Any:
        """Call a method; a submission is completed after its delay."""
        self.network.advance(self.now)
        caller = Caller(tenant=tenant, connection=connection)
        result = self.emulation.apis[node - 1].call(method, list(params), caller)
        if isinstance(result, Submission):
            self.now += result.delay_seconds
            self.network.advance(self.now)
            return result.complete()
        return result

    def mine(self, count: int = 1) -> int:
        """Make blocks and return the head's number."""
        self.call(1, "devnet_mine", count)
        return self.network.chain.head.number

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.emulation.advance(self.now)

    def raw(
        self,
        data: bytes,
        *,
        to: str | None = MANAGEMENT_PROXY,
        node: int = 1,
        account: int = 1,
        group: str = GROUP,
        **fields: Any,
    ) -> str:
        """Sign a private transaction, by default with the nonce that its node says."""
        key = ACCOUNT_KEYS[account - 1]
        if "private_nonce" not in fields:
            count = self.call(node, "priv_getTransactionCount", address_of_private_key(key), group)
            fields["private_nonce"] = int(count, 16)
        fields = {"private_from": self.keys[node - 1], "privacy_group_id": group, "chain_id": 1337, **fields}
        return "0x" + sign_private_transaction(PrivateTransaction(to=to, data=data, **fields), key).hex()

    def send(self, data: bytes, *, node: int = 1, **options: Any) -> str:
        """Send a private transaction and return its PMT hash; nothing is mined."""
        return str(self.call(node, "eea_sendRawTransaction", self.raw(data, node=node, **options)))

    def execute(self, data: bytes, *, node: int = 1, **options: Any) -> dict[str, Any]:
        """Send a private transaction, mine it and return its private receipt."""
        pmt_hash = self.send(data, node=node, **options)
        self.mine()
        receipt = self.call(node, "priv_getTransactionReceipt", pmt_hash)
        assert isinstance(receipt, dict)
        return receipt

    def distribute(self, data: bytes, *, node: int = 1, **options: Any) -> bytes:
        """Distribute a private transaction and return its payload key, or its two keys."""
        answer = self.call(node, "priv_distributeRawTransaction", self.raw(data, node=node, **options))
        return bytes.fromhex(answer[2:])

    def public(self, account: SigningAccount, *, node: int = 1, **fields: Any) -> str:
        """Sign a public transaction, send it through a node and return its hash; nothing is mined."""
        return self.broadcast(self.sign(account, **fields), node=node)

    def broadcast(self, transaction: PublicTransaction, *, node: int = 1) -> str:
        """Send a signed public transaction through a node and return its hash."""
        return str(self.call(node, "eth_sendRawTransaction", "0x" + transaction.raw.hex()))

    def mine_exactly(self, *transactions: PublicTransaction) -> int:
        """Make a block of these transactions, in this order, and return its number."""
        self.network.advance(self.now)
        return self.network.append_block(list(transactions)).number

    def create(self, *nodes: int, group: str = GROUP) -> dict[str, Any]:
        """Create a group of nodes."""
        return self.execute(encode_add_participants(self.abi, [self.keys[node - 1] for node in nodes]), group=group)

    def lock(self, **options: Any) -> dict[str, Any]:
        """Lock the group."""
        return self.execute(encode_call(Method.LOCK), **options)

    def unlock(self, **options: Any) -> dict[str, Any]:
        """Unlock the group."""
        return self.execute(encode_call(Method.UNLOCK), **options)

    def addition(self, *nodes: int) -> bytes:
        """The call data of an addition."""
        return encode_add_participants(self.abi, [self.keys[node - 1] for node in nodes])

    def add(self, *nodes: int, **options: Any) -> dict[str, Any]:
        """Add nodes to the locked group."""
        return self.execute(self.addition(*nodes), **options)

    def lock_and_add(self, *nodes: int, **options: Any) -> dict[str, Any]:
        """Lock the group and add nodes."""
        assert self.lock(**options)["status"] == "0x1"
        return self.add(*nodes, **options)

    def remove(self, node: int, **options: Any) -> dict[str, Any]:
        """Remove a node."""
        return self.execute(encode_remove_participant(self.abi, self.keys[node - 1]), **options)

    def write(self, count: int = 1, **options: Any) -> dict[str, Any]:
        """Write application transactions, one a block, and return the last receipt."""
        receipts = [self.execute(b"\x01%d" % number, to=APPLICATION, **options) for number in range(count)]
        return receipts[-1]

    def members(self, node: int, block: str = "latest", group: str = GROUP) -> tuple[str, ...]:
        """The group's members as a node knows them; none when it knows nothing."""
        output = self.view(node, Method.GET_PARTICIPANTS, block, group)
        return decode_participants(output) if output else ()

    def view(self, node: int, method: Method, block: str = "latest", group: str = GROUP) -> bytes | None:
        """Ask the management contract something."""
        answer = self.call(
            node, "priv_call", group, {"to": MANAGEMENT_PROXY, "data": "0x" + encode_call(method).hex()}, block
        )
        return None if answer is None else bytes.fromhex(answer[2:])

    def locked(self, node: int = 1) -> bool:
        """Whether the group is locked."""
        return self.view(node, Method.CAN_EXECUTE) == bytes(32)

    def root(self, node: int, block: str = "latest", group: str = GROUP) -> str:
        """The group's state root."""
        return str(self.call(node, "priv_debugGetStateRoot", group, block))

    def head(self, node: int) -> int:
        """The node's head."""
        return int(self.call(node, "eth_blockNumber"), 16)


class Listener:
    """A WebSocket connection that keeps the frames it gets."""

    def __init__(self) -> None:
        self.frames: list[str] = []

    def push(self, frame: str) -> None:
        """Keep a frame."""
        self.frames.append(frame)
