"""One transaction of the public chain. Pure."""

from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE
from orchestrator.devnet.encoding import data, minimal_bytes, rlp_list

TRANSACTION_GAS: Final = 21_000
CREATION_GAS: Final = 32_000
GAS_PER_ZERO_BYTE: Final = 4
GAS_PER_OTHER_BYTE: Final = 16


@dataclass(frozen=True, slots=True)
class PublicTransaction:
    """A public transaction: a privacy marker transaction, a transfer, or a call of a contract whose code is not run.

    Attributes:
        hash: 32 bytes; a marker's is the ``pmt_hash``.
        sender: address, "0x…" in lower case.
        account_nonce: the sender's public nonce.
        gas_price, gas_limit, value: in wei, gas, wei.
        to: address, or None when it creates a contract.
        input: payload; a marker's is the enclave's payload key, or two keys for an add to a group with a history.
        v, r, s: signature.
        public_key: of the sender, 64 bytes.
        raw: as it was signed.
    """

    hash: bytes
    sender: str
    account_nonce: int
    gas_price: int
    gas_limit: int
    to: str | None
    value: int
    input: bytes
    v: int
    r: int
    s: int
    public_key: bytes
    raw: bytes

    @property
    def is_marker(self) -> bool:
        """True when it points to a private transaction, whoever signed it."""
        return self.to == PRIVACY_PRECOMPILE and len(self.input) in {32, 64}

    @property
    def payload_key(self) -> bytes:
        """The enclave's key of the private transaction."""
        return self.input[:32]

    @property
    def history_key(self) -> bytes | None:
        """The enclave's key of the history bundle; None unless it is an add to a group that has one."""
        return self.input[32:64] if self.is_marker and len(self.input) == 64 else None

    @property
    def chain_id(self) -> int | None:
        """The chain that it is signed for; None without replay protection (EIP-155)."""
        return None if self.v in {27, 28} else (self.v - 35) // 2

    @property
    def place(self) -> tuple[str, int]:
        """Account and public nonce: of several transactions at one place at most one is ever mined."""
        return self.sender, self.account_nonce

    @property
    def receiver(self) -> str:
        """Who gets the value: an address, or the contract that it creates."""
        return self.to if self.to is not None else created_contract(self.sender, self.account_nonce)

    @property
    def gas_used(self) -> int:
        """Gas that it takes in a block: what it costs before anything runs, since no contract code runs here."""
        return intrinsic_gas(self.input, creates=self.to is None)

    @property
    def upfront_cost_wei(self) -> int:
        """What its sender must hold."""
        return self.value + self.gas_limit * self.gas_price


def created_contract(sender: str, account_nonce: int) -> str:
    """Address of the contract that a public transaction creates."""
    return data(keccak(rlp_list([bytes.fromhex(sender[2:]), minimal_bytes(account_nonce)]))[-20:])


def intrinsic_gas(payload: bytes, *, creates: bool = False) -> int:
    """Gas that a public transaction costs before anything runs; a marker costs no more."""
    zeros = payload.count(0)
    calls = GAS_PER_ZERO_BYTE * zeros + GAS_PER_OTHER_BYTE * (len(payload) - zeros)
    return TRANSACTION_GAS + calls + (CREATION_GAS if creates else 0)
