"""Making and signing marker transactions, by a random key each or by one fixed key. Pure.

Source: PROTOCOL.md, Nonces: with random keys the order of two markers in a block says nothing; with a fixed key it is
the order of submission.
"""

from dataclasses import dataclass

import rlp
from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from orchestrator.besu.management_contract import PRIVACY_PRECOMPILE
from orchestrator.devnet.chain import PublicTransaction
from orchestrator.devnet.encoding import data, minimal_bytes, rlp_list


@dataclass(frozen=True, slots=True)
class MarkerAccount:
    """A key that signs marker transactions, with what the chain knows it by."""

    key: PrivateKey
    address: str
    public_key: bytes


def marker_account(seed: bytes) -> MarkerAccount:
    """Derive an account from a seed: the same seed gives the same account."""
    key = PrivateKey(keccak(b"orchestrator devnet marker" + seed))
    public_key = key.public_key.format(compressed=False)[1:]
    return MarkerAccount(key=key, address=data(keccak(public_key)[-20:]), public_key=public_key)


def sign_marker(
    account: MarkerAccount, *, account_nonce: int, gas_price: int, gas_limit: int, payload: bytes
) -> PublicTransaction:
    """Make a marker transaction to the privacy precompile; v is 27 or 28, as nodes sign it (transcripts)."""
    fields = [
        minimal_bytes(account_nonce),
        minimal_bytes(gas_price),
        minimal_bytes(gas_limit),
        bytes.fromhex(PRIVACY_PRECOMPILE[2:]),
        b"",
        payload,
    ]
    signature = account.key.sign_recoverable(keccak(rlp_list(fields)), hasher=None)
    r, s, v = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64]), 27 + signature[64]
    raw = rlp_list([*fields, minimal_bytes(v), minimal_bytes(r), minimal_bytes(s)])
    return PublicTransaction(
        hash=keccak(raw),
        sender=account.address,
        account_nonce=account_nonce,
        gas_price=gas_price,
        gas_limit=gas_limit,
        to=PRIVACY_PRECOMPILE,
        value=0,
        input=payload,
        v=v,
        r=r,
        s=s,
        public_key=account.public_key,
        raw=raw,
    )


def read_marker(raw: bytes) -> PublicTransaction:
    """Read a marker transaction that ``sign_marker`` made."""
    items = rlp.decode(raw)
    account_nonce, gas_price, gas_limit, _, _, payload, v, r, s = items
    numbers = [int.from_bytes(item) for item in (account_nonce, gas_price, gas_limit, v, r, s)]
    signature = numbers[4].to_bytes(32) + numbers[5].to_bytes(32) + bytes([numbers[3] - 27])
    digest = keccak(rlp_list(items[:6]))
    public_key = PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=False)[1:]
    return PublicTransaction(
        hash=keccak(raw),
        sender=data(keccak(public_key)[-20:]),
        account_nonce=numbers[0],
        gas_price=numbers[1],
        gas_limit=numbers[2],
        to=PRIVACY_PRECOMPILE,
        value=0,
        input=payload,
        v=numbers[3],
        r=numbers[4],
        s=numbers[5],
        public_key=public_key,
        raw=raw,
    )
