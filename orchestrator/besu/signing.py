"""What the engine signs and as whom: the management contract's calls, and the configured accounts."""

from collections.abc import Mapping, Sequence

from orchestrator.besu.management_contract import (
    MANAGEMENT_PROXY,
    Abi,
    Method,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.besu.private_transaction import PrivateTransaction
from orchestrator.besu.signers import Signer
from orchestrator.membership.attempt import Action


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
