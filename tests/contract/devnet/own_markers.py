"""What a recording of markers of one's own leaves out: whose keys signed, and what was done between the exchanges.

The recorded markers carry the payload keys of the recorded enclaves, so each is signed again, by an account that stands
for the recorded one, with the payload key that the devnet gave. What the step's name says was done to the network
(nodes cut off and restarted, groups created before, the transaction that closes a gap) is done here.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from eth_hash.auto import keccak

from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, Abi, encode_add_participants
from orchestrator.besu.codec.private_transaction import (
    PrivateTransaction,
    decode_private_transaction,
    sign_private_transaction,
)
from orchestrator.devnet import Devnet
from orchestrator.devnet.chain.public_signatures import (
    SigningAccount,
    decode_public_transaction,
    sign_public_transaction,
    signing_account,
)
from orchestrator.devnet.chain.public_transaction import PublicTransaction, intrinsic_gas
from orchestrator.devnet.private.contract import added_keys, is_addition
from tests.contract.devnet.comparison import Comparison
from tests.contract.devnet.recording import Exchange, Recording, needed_head

SEND = "eth_sendRawTransaction"
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
WRITER_KEY = "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3"
GOSSIP_MS = 100.0
FUNDED_WEI = 10**18
APPLICATION = "0x" + "33" * 20
PAID_WEI = 1000
NEAR_GAS = 50
MAX_ATTEMPTS = 64


def networks_of(recording: Recording) -> Iterator[tuple[Recording, dict[str, Any]]]:
    """Split a recording where another network begins: another set-up, or block numbers that go back."""
    part: list[Exchange] = []
    newest, setup = 0, _setup(recording.exchanges[0])
    for step in _steps(recording.exchanges):
        numbers = [number for exchange in step if (number := _block_of(exchange)) is not None]
        if part and ((numbers and min(numbers) < newest) or _setup(step[0]) != setup):
            yield _part(recording, part, setup)
            part, newest = [], 0
        setup = _setup(step[0])
        part += step
        newest = max([newest, *numbers])
    yield _part(recording, part, setup)


def _part(recording: Recording, exchanges: list[Exchange], setup: dict[str, Any]) -> tuple[Recording, dict[str, Any]]:
    found = {"balances_wei": _funded(exchanges), "enclave_keys": _keys_of_nodes(exchanges)}
    return replace(recording, exchanges=tuple(exchanges)), setup | found


def _keys_of_nodes(exchanges: list[Exchange]) -> dict[int, str]:
    """Each node's own enclave key: it signs from it; groups are created of nodes 1 and 2, and node 3 is added."""
    keys: dict[int, str] = {}
    for exchange in exchanges:
        if exchange.method not in {"priv_distributeRawTransaction", "eea_sendRawTransaction"}:
            continue
        transaction = decode_private_transaction(exchange.params[0]).transaction
        keys[exchange.node or 1] = transaction.private_from
        if not _adds(transaction):
            continue
        members = added_keys(transaction.data)
        for node, key in zip((1, 2) if len(members) == 2 else (3,), members, strict=True):
            keys.setdefault(node, key)
    return keys


def _setup(exchange: Exchange) -> dict[str, Any]:
    common = {"nodes": 4, "validators": 3, "base_fee": False, "gossip_ms": GOSSIP_MS}
    if not exchange.step.startswith("M6"):
        return common
    return common | {
        "min_gas_price_wei": PAID_WEI,
        "fixed_marker_key": True,
        "marker_balance_wei": FUNDED_WEI,
        "free_nodes": frozenset({4}),
        "local_priority": "no-local-priority" not in exchange.step,
    }


def _steps(exchanges: tuple[Exchange, ...]) -> Iterator[list[Exchange]]:
    step: list[Exchange] = []
    for exchange in exchanges:
        if step and _script(exchange) != _script(step[0]):
            yield step
            step = []
        step.append(exchange)
    yield step


def _adds(transaction: PrivateTransaction) -> bool:
    return any(is_addition(abi, transaction.data) for abi in (Abi.BYTES, Abi.BYTES32))


def _script(exchange: Exchange) -> str:
    return exchange.step.partition(": ")[0]


def _block_of(exchange: Exchange) -> int | None:
    result = exchange.result
    number = result.get("blockNumber") if isinstance(result, dict) else None
    return int(number, 16) if isinstance(number, str) else None


def _decoded(exchange: Exchange) -> PublicTransaction:
    return decode_public_transaction(bytes.fromhex(exchange.params[0][2:]))


def _stand_in(sender: str, attempt: int = 0) -> SigningAccount:
    return signing_account(keccak(b"stands for %s %d" % (sender.encode("ascii"), attempt)))


def _funded(exchanges: list[Exchange]) -> dict[str, int]:
    """Accounts of which the recorded network took a transaction with a price."""
    paying = {
        _decoded(exchange).sender
        for exchange in exchanges
        if exchange.method == SEND and exchange.result is not None and _decoded(exchange).gas_price
    }
    return {_stand_in(sender).address: FUNDED_WEI for sender in paying}


class ScriptDriver:
    """Does what the recording's script did between the exchanges.

    Attributes:
        competing: PMTs beside which another of the same private nonce is in the block: chance tells which executes.
    """

    def __init__(self, recording: Recording, devnet: Devnet, comparison: Comparison) -> None:
        self._recording = recording
        self._devnet = devnet
        self._comparison = comparison
        self._step = ""
        self._position = 0
        self._last_raw: str | None = None
        self._last_sender: str | None = None
        self._gap_closed = False
        self._accounts: dict[str, SigningAccount] = {}
        self._places = {
            exchange.params[0]: (exchange.result["blockNumber"], int(exchange.result["transactionIndex"], 16))
            for exchange in recording.exchanges
            if exchange.method == "eth_getTransactionReceipt" and exchange.result is not None
        }
        self._signed_at: dict[tuple[str, int], bytes] = {}
        self.competing: set[str] = set()

    def needed_head(self, exchange: Exchange) -> int:
        """The head that the network must have had; what competes for a place waits until the last was sent."""
        if exchange.method != SEND or exchange.result is None:
            return needed_head(self._recording, exchange)
        sender = _decoded(exchange).sender
        mined = [
            self._recording.mined_in.get(other.result, 1) - 1
            for other in self._recording.exchanges
            if other.method == SEND and other.result is not None and _script(other) == _script(exchange)
            if _decoded(other).sender == sender and _decoded(other).account_nonce <= _decoded(exchange).account_nonce
        ]
        # Between forgetting the marker and sending it again a block held the transaction before it.
        return max(mined) - (exchange.step.startswith("M10") and self._position == 1)

    async def before(self, exchange: Exchange) -> None:
        """Prepare the network for an exchange."""
        if exchange.step != self._step:
            self._step, self._position, self._gap_closed = exchange.step, 0, False
            await self._begin_step(exchange)
        self._position += exchange.method == SEND
        raw = exchange.params[0] if exchange.method == SEND else None
        # What two nodes took at the same time, or both took, they got before one could tell the other.
        together = self._last_raw is not None and ("at the same time" in exchange.step or raw == self._last_raw)
        if raw is None or exchange.result is None or not together:
            await self._devnet.call(1, "devnet_advanceTime", [GOSSIP_MS / 1000])
        self._last_raw = raw
        if raw is not None:
            self._last_sender = _decoded(exchange).sender
        await self._mid_step(exchange)
        if raw is not None:
            await self._fill_block(exchange)

    async def _fill_block(self, exchange: Exchange) -> None:
        """Send the transfer that was in a transaction's block before it, where the recording has none."""
        block, index = self._places.get(exchange.result, ("", 0))
        if (
            index == 0
            or _decoded(exchange).account_nonce
            or (block, index - 1) in {*self._places.values(), *self._signed_at}
        ):
            return
        first = min(
            (self._transfer(_stand_in(block, attempt)) for attempt in range(MAX_ATTEMPTS)), key=lambda item: item.hash
        )
        self._signed_at[block, index - 1] = first.hash
        if (behind := self.needed_head(exchange) - self._head()) > 0:
            await self.mine(behind)
        await self._devnet.call(1, SEND, ["0x" + first.raw.hex()])
        await self._devnet.call(1, "devnet_advanceTime", [GOSSIP_MS / 1000])

    async def mine(self, count: int) -> None:
        """Make blocks, each by a validator whose pool holds what the recorded block held, where there is one."""
        for _ in range(count):
            # Any call brings the network to the time that was moved before.
            await self._devnet.call(1, "devnet_status", [])
            wanted = self._wanted(self._head() + 1)
            if wanted is None:
                await self._devnet.call(1, "devnet_mine", [1])
                continue
            others = {1, 2, 3} - {wanted}
            for node in others:
                await self._devnet.call(1, "devnet_setPropagation", [node, True, False])
            await self._devnet.call(1, "devnet_mine", [1])
            for node in others:
                await self._devnet.call(1, "devnet_setPropagation", [node, True, True])

    def _wanted(self, number: int) -> int | None:
        hashes = [
            bytes.fromhex(self._comparison.actual_of[recorded][2:])
            for recorded, mined_in in self._recording.mined_in.items()
            if mined_in == number and recorded in self._comparison.actual_of
        ]
        network = self._devnet.emulation.network
        holding = [
            node.number
            for node in network.validators
            if node.head is network.chain.head
            and {item.hash for item in network.pool.of(node).executable(network.chain.account)}.issuperset(hashes)
        ]
        return holding[0] if hashes and len(holding) < len(network.validators) and holding else None

    def _head(self) -> int:
        return self._devnet.emulation.network.chain.head.number

    @staticmethod
    def _transfer(account: SigningAccount) -> PublicTransaction:
        return sign_public_transaction(
            account, account_nonce=0, gas_price=0, gas_limit=21_000, to=account.address, chain_id=1337
        )

    async def _begin_step(self, exchange: Exchange) -> None:
        for node in (3, 4):
            if exchange.step.startswith("M2 marker only") and f"node {node} (" in exchange.step:
                cut = exchange.step.endswith(("cut off)", "cut-off node", "another node"))
                await self._propagate(node, on=not cut)

    async def _mid_step(self, exchange: Exchange) -> None:
        if exchange.step.startswith("M2 marker with a cut-off node") and exchange.method == SEND:
            if self._position in {1, 3}:
                await self._propagate(4, on=self._position == 3)
        elif exchange.step.startswith("M10") and exchange.method == SEND and self._position == 2:
            for up in (False, True):
                for node in (1, 2, 3, 4):
                    await self._devnet.call(1, "devnet_setNode", [node, up])
        elif exchange.step.startswith("M10") and exchange.method == "eth_getTransactionReceipt" and self._position == 2:
            await self._devnet.call(1, "devnet_mine", [1])
        elif "nonce 0 is missing" in exchange.step and exchange.method != SEND and not self._gap_closed:
            self._gap_closed = True
            await self._close_gap()
        elif exchange.step.startswith("M5 two markers distributed") and self._position == 2:
            # The block with the first was made when the node, which had not imported it yet, took the second.
            late = exchange.method == SEND and exchange.result is not None
            await self._propagate(1, on=True)
            if late and exchange.result not in self._recording.mined_in:
                await self._devnet.call(1, "devnet_setPropagation", [1, True, False])
                await self._devnet.call(1, "devnet_mine", [1])

    async def _propagate(self, node: int, *, on: bool) -> None:
        await self._devnet.call(1, "devnet_setPropagation", [node, on, on])

    async def _close_gap(self) -> None:
        account = self._accounts[self._last_sender or ""]
        closing = self._transfer(account)
        await self._devnet.call(1, SEND, ["0x" + closing.raw.hex()])
        await self._devnet.call(1, "devnet_advanceTime", [GOSSIP_MS / 1000])

    async def begin(self) -> None:
        """Create the groups that the recording finds created, each with something of its own written to it."""
        existing: dict[str, bool] = {}
        for exchange in self._recording.exchanges if self._recording.has_own_markers else ():
            if exchange.method == "priv_getTransactionCount":
                existing.setdefault(exchange.params[1], exchange.result != "0x0")
            elif exchange.method in {"priv_distributeRawTransaction", "eea_sendRawTransaction"}:
                transaction = decode_private_transaction(exchange.params[0]).transaction
                existing.setdefault(transaction.privacy_group_id or "", not _adds(transaction))
        groups = [group for group, exists in existing.items() if exists]
        network = self._devnet.emulation.network
        own = [node.key for node in network.nodes[:2]]
        create = encode_add_participants(network.behaviour.abi, own)
        for key, to, written in ((OWNER_KEY, MANAGEMENT_PROXY, create), (WRITER_KEY, APPLICATION, None)):
            for group in groups:
                transaction = PrivateTransaction(
                    private_nonce=0,
                    private_from=own[0],
                    to=to,
                    data=group.encode("ascii") if written is None else written,
                    privacy_group_id=group,
                    gas_price=network.config.min_gas_price_wei,
                    chain_id=1337,
                )
                raw = "0x" + sign_private_transaction(transaction, key).hex()
                await self._devnet.call(1, "eea_sendRawTransaction", [raw])
            await self._devnet.call(1, "devnet_advanceTime", [GOSSIP_MS / 1000])
            await self._devnet.call(1, "devnet_mine", [1])

    def translated(self, exchange: Exchange) -> list[Any]:
        """The exchange's parameters with the devnet's values."""
        if exchange.method == "eth_getTransactionCount":
            return [self._accounts[exchange.params[0].lower()].address, *exchange.params[1:]]
        if exchange.method != SEND:
            return list(self._comparison.translate(exchange.params))
        recorded = _decoded(exchange)
        signed = self._sign(recorded)
        self._comparison.stand_ins[recorded.sender] = signed.sender
        self._comparison.same_hash("0x" + recorded.hash.hex(), "0x" + signed.hash.hex())
        return ["0x" + signed.raw.hex()]

    def _sign(self, recorded: PublicTransaction) -> PublicTransaction:
        """Sign anew, by an account whose transaction sorts in its block as the recorded one did."""
        keys = [recorded.input[at : at + 32].hex() for at in range(0, len(recorded.input), 32)]
        payload = bytes.fromhex("".join(self._comparison.actual_of.get("0x" + key, "0x" + key)[2:] for key in keys))
        gas_limit = recorded.gas_limit
        if abs(gas_limit - intrinsic_gas(recorded.input)) < NEAR_GAS:
            # A limit close to the intrinsic gas: it depends on how many bytes of the payload key are zero.
            gas_limit += intrinsic_gas(payload) - intrinsic_gas(recorded.input)
        place = self._places.get("0x" + recorded.hash.hex())
        for attempt in range(MAX_ATTEMPTS):
            account = self._accounts.get(recorded.sender) or _stand_in(recorded.sender, attempt)
            signed = sign_public_transaction(
                account,
                account_nonce=recorded.account_nonce,
                gas_price=recorded.gas_price,
                gas_limit=gas_limit,
                to=account.address if recorded.to == recorded.sender else recorded.to,
                value=recorded.value,
                payload=payload,
                chain_id=recorded.chain_id,
            )
            if recorded.sender in self._accounts or place is None or self._sorts(place, signed.hash):
                break
        self._accounts[recorded.sender] = account
        if place is not None:
            self._signed_at[place] = signed.hash
        return signed

    def _sorts(self, place: tuple[str, int], transaction_hash: bytes) -> bool:
        return all(
            (index < place[1]) == (other < transaction_hash)
            for (block, index), other in self._signed_at.items()
            if block == place[0]
        )
