"""What the engine signs and as whom: the management contract's calls, and the configured accounts."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress

from orchestrator.besu.management_contract import (
    MANAGEMENT_PROXY,
    Abi,
    Method,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.besu.marker_transaction import SignedMarkerTransaction, sign_burn, sign_marker
from orchestrator.besu.private_transaction import (
    InvalidPrivateTransactionError,
    PrivateTransaction,
    address_of_private_key,
)
from orchestrator.besu.signers import Signer
from orchestrator.engine.node_ports import SignedMarker
from orchestrator.membership.model import Action


class ManagementCodec:
    """The management contract's calls (`orchestrator.engine.ports.Contract`)."""

    def payload(self, action: Action, members: Sequence[str], abi: str) -> bytes:
        """Return the call data for an action."""
        match action:
            case Action.LOCK:
                return encode_call(Method.LOCK)
            case Action.UNLOCK:
                return encode_call(Method.UNLOCK)
            case Action.CREATE | Action.ADD:
                return encode_add_participants(Abi(abi), members)
            case Action.REMOVE:
                return encode_remove_participant(Abi(abi), members[0])

    def unlock_by_empty_add(self, abi: str) -> bytes:
        """Return an addition of nobody."""
        return encode_add_participants(Abi(abi), ())


class MarkerKeys:
    """Signs markers of our own (`orchestrator.engine.node_ports.MarkerSigner`)."""

    def one_time_key(self) -> bytes:
        """Return a new private key."""
        while True:
            secret = secrets.token_bytes(32)
            with suppress(InvalidPrivateTransactionError):  # one of 2^128 is not below the order of the curve
                address_of_private_key(secret)
                return secret

    def marker(
        self,
        private_key: bytes,
        payload_key: bytes,
        *,
        precompile: str,
        account_nonce: int,
        gas_price: int,
        gas_limit: int,
        chain_id: int | None,
    ) -> SignedMarker:
        """Return the marker of a distributed private transaction."""
        signed = sign_marker(
            payload_key,
            private_key,
            precompile=precompile,
            account_nonce=account_nonce,
            gas_price=gas_price,
            gas_limit=gas_limit,
            chain_id=chain_id,
        )
        return _signed_marker(signed)

    def burn(self, private_key: bytes, *, account_nonce: int, gas_price: int, chain_id: int | None) -> SignedMarker:
        """Return the transaction that takes an account's nonce for nothing."""
        return _signed_marker(
            sign_burn(private_key, account_nonce=account_nonce, gas_price=gas_price, chain_id=chain_id)
        )


def _signed_marker(signed: SignedMarkerTransaction) -> SignedMarker:
    return SignedMarker(
        raw=signed.raw,
        marker_hash=signed.transaction_hash,
        account=signed.sender,
        account_nonce=signed.transaction.account_nonce,
    )


class Accounts:
    """The configured accounts (`orchestrator.engine.ports.Signers`).

    Args:
        signers: By checksum address, in the order of the configuration.
        gas_limit: Of each private transaction; its PMT copies it.
        gas_price: In wei; its PMT copies it.
    """

    def __init__(self, signers: Mapping[str, Signer], *, gas_limit: int, gas_price: int) -> None:
        self._signers = dict(signers)
        self._gas_limit = gas_limit
        self._gas_price = gas_price

    @property
    def accounts(self) -> tuple[str, ...]:
        """Checksum addresses."""
        return tuple(self._signers)

    def sign(
        self,
        *,
        account: str,
        chain_id: int,
        private_nonce: int,
        privacy_group_id: str,
        private_from: str,
        payload: bytes,
    ) -> bytes:
        """Return the signed bytes of a call to the management contract."""
        transaction = PrivateTransaction(
            private_nonce=private_nonce,
            private_from=private_from,
            to=MANAGEMENT_PROXY,
            data=payload,
            privacy_group_id=privacy_group_id,
            chain_id=chain_id,
            gas_limit=self._gas_limit,
            gas_price=self._gas_price,
        )
        return self._signers[account].sign(transaction)

    def sign_statement(self, account: str, text: bytes) -> bytes:
        """Return the signature of a statement; raises KeyError for an account that is not configured."""
        return self._signers[account].sign_statement(text)
