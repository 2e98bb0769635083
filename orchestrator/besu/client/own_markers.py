"""Markers of our own, as the engine wants them (`orchestrator.engine.ports.nodes.Markers`)."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.besu.codec.account_signatures import address_of_key
from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE
from orchestrator.besu.codec.marker_transaction import SignedMarkerTransaction, sign_burn, sign_marker
from orchestrator.engine.ports.nodes import MarkerAccount, NodeError
from orchestrator.membership.attempt import Marker
from orchestrator.membership.reasons.table import Reason


def one_time_account(key: bytes | None = None) -> MarkerAccount:
    """Return an account for one marker: it pays nothing, and nobody knows it.

    Args:
        key: Its private key, 32 bytes that nobody can guess; None to draw one.
    """
    key = key if key is not None else secrets.token_bytes(32)
    return MarkerAccount(account=address_of_key(key), key=key)


def pooled_keys(seed: bytes, count: int) -> dict[str, bytes]:
    """Derive the marker accounts of a seed: the first ones stay the same when their number grows.

    Args:
        seed: At least 32 bytes that nobody can guess.
        count: How many.

    Returns:
        By address ("0x…" in lower case) the private key, in order.
    """
    keys = (hmac.digest(seed, f"marker account {number}".encode(), hashlib.sha256) for number in range(count))
    return {address_of_key(key): key for key in keys}


@dataclass(frozen=True, slots=True)
class OwnMarkers:
    """Signs markers, and what takes them back.

    Attributes:
        gas_limit: Of each marker.
        gas_price: In wei.
        keys: By address the keys of accounts that sign more than one marker.
    """

    gas_limit: int
    gas_price: int
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def make(self, payload_key: bytes, chain_id: int, account: MarkerAccount) -> Marker:
        """Return the marker of a distributed private transaction."""
        return self._signed(account, payload_key, self.gas_limit, self.gas_price, chain_id)

    def renew(self, marker: Marker) -> Marker:
        """Return the same marker with one more gas, and a higher price where it has one, under the same nonce."""
        price = _raised(marker.gas_price)
        return self._signed(_of(marker), marker.payload_key, marker.gas_limit + 1, price, marker.chain_id)

    def burn(self, marker: Marker, more_gas: int = 0) -> SignedMarkerTransaction:
        """Return the transaction that makes a marker impossible to mine once it is mined itself."""
        price = marker.gas_price
        for _ in range(more_gas + 1):
            price = _raised(price)
        return sign_burn(
            self._key(_of(marker)),
            account_nonce=marker.account_nonce,
            gas_price=price,
            chain_id=marker.chain_id,
            more_gas=more_gas,
        )

    def _key(self, account: MarkerAccount) -> bytes:
        key = account.key or self.keys.get(account.account)
        if key is None:
            raise NodeError(Reason(slug="account_unavailable", detail=f"marker account {account.account}"))
        return key

    def _signed(
        self, account: MarkerAccount, payload_key: bytes, gas_limit: int, gas_price: int, chain_id: int
    ) -> Marker:
        signed = sign_marker(
            payload_key,
            self._key(account),
            precompile=PRIVACY_PRECOMPILE,
            account_nonce=account.account_nonce,
            gas_price=gas_price,
            gas_limit=gas_limit,
            chain_id=chain_id,
        )
        return Marker(
            account=signed.sender,
            account_nonce=account.account_nonce,
            key=account.key,
            payload_key=payload_key,
            gas_limit=gas_limit,
            gas_price=gas_price,
            chain_id=chain_id,
            raw=signed.raw,
            pmt_hash=signed.transaction_hash,
        )


def _of(marker: Marker) -> MarkerAccount:
    return MarkerAccount(account=marker.account, account_nonce=marker.account_nonce, key=marker.key)


def _raised(gas_price: int) -> int:
    """The least price at which pools let a transaction replace another: a tenth more, rounded well up."""
    return gas_price + -(-gas_price // 8)
