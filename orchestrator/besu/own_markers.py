"""Markers with one-time accounts, as the engine wants them (`orchestrator.engine.node_ports.Markers`)."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.besu.management_contract import PRIVACY_PRECOMPILE
from orchestrator.besu.marker_transaction import SignedMarkerTransaction, sign_burn, sign_marker
from orchestrator.membership.attempt import Marker

FIRST_ACCOUNT_NONCE = 0
"""The only account nonce that a one-time account ever uses."""


def one_time_key() -> bytes:
    """Return a private key for one marker."""
    return secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class OneTimeMarkers:
    """Signs each marker with a key of its own.

    Attributes:
        draw_key: Returns a fresh private key, 32 bytes that nobody can guess.
        gas_limit: Of each marker.
        gas_price: In wei.
    """

    draw_key: Callable[[], bytes]
    gas_limit: int
    gas_price: int

    def make(self, payload_key: bytes, chain_id: int) -> Marker:
        """Return the marker of a distributed private transaction, signed by a fresh account."""
        return self._signed(self.draw_key(), payload_key, self.gas_limit, self.gas_price, chain_id)

    def renew(self, marker: Marker) -> Marker:
        """Return the same marker with one more gas, under the same account nonce."""
        return self._signed(marker.key, marker.payload_key, marker.gas_limit + 1, marker.gas_price, marker.chain_id)

    def burn(self, marker: Marker, more_gas: int = 0) -> SignedMarkerTransaction:
        """Return the transaction that makes a marker impossible to mine once it is mined itself."""
        return sign_burn(
            marker.key,
            account_nonce=FIRST_ACCOUNT_NONCE,
            gas_price=marker.gas_price,
            chain_id=marker.chain_id,
            more_gas=more_gas,
        )

    def _signed(self, key: bytes, payload_key: bytes, gas_limit: int, gas_price: int, chain_id: int) -> Marker:
        signed = sign_marker(
            payload_key,
            key,
            precompile=PRIVACY_PRECOMPILE,
            account_nonce=FIRST_ACCOUNT_NONCE,
            gas_price=gas_price,
            gas_limit=gas_limit,
            chain_id=chain_id,
        )
        return Marker(
            account=signed.sender,
            key=key,
            payload_key=payload_key,
            gas_limit=gas_limit,
            gas_price=gas_price,
            chain_id=chain_id,
            raw=signed.raw,
            pmt_hash=signed.transaction_hash,
        )
