"""What the engine signs and as whom: the management contract's calls, and the configured accounts."""

import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import structlog

from orchestrator.besu.client.signer_ports import Signer, SignerAwayError, SignerError, WrongSignatureError
from orchestrator.besu.codec.account_signatures import Signature
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    Abi,
    Method,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.besu.codec.private_transaction import PrivateTransaction, unsigned_private_transaction
from orchestrator.besu.codec.statements import statement_message
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.attempt import Action
from orchestrator.membership.reasons.table import Reason

log = structlog.get_logger()


class Outcome(StrEnum):
    """What came of asking a signer."""

    SIGNED = "signed"
    AWAY = "away"
    REFUSED = "refused"
    WRONG = "wrong"


class ManagementCodec:
    """The management contract's calls (`orchestrator.engine.ports.nodes.Contract`)."""

    def payload(self, action: Action, members: Sequence[str], abi: str) -> bytes:
        """Return the call data for an action."""
        match action:
            case Action.LOCK:
                return encode_call(Method.LOCK)
            case Action.UNLOCK:
                return encode_call(Method.UNLOCK)
            # A creation is the first addition of a group whose id is free (docs/besu.md#life-of-a-change, 1).
            case Action.CREATE | Action.ADD:
                return encode_add_participants(Abi(abi), members)
            case Action.REMOVE:
                return encode_remove_participant(Abi(abi), members[0])

    def unlock_by_empty_add(self, abi: str) -> bytes:
        """Return an addition of nobody."""
        return encode_add_participants(Abi(abi), ())


class Accounts:
    """The configured accounts (`orchestrator.engine.ports.signers.Signers`).

    Args:
        signers: By checksum address, in the order of the configuration.
        gas_limit: Of each private transaction; its PMT copies it.
        gas_price: In wei; its PMT copies it.
        on_signature: Told what came of each signature that was asked for, and the seconds that it took.
    """

    def __init__(
        self,
        signers: Mapping[str, Signer],
        *,
        gas_limit: int,
        gas_price: int,
        on_signature: Callable[[Outcome, float], None] = lambda _outcome, _seconds: None,
    ) -> None:
        self._signers = dict(signers)
        self._gas_limit = gas_limit
        self._gas_price = gas_price
        self._on_signature = on_signature

    @property
    def accounts(self) -> tuple[str, ...]:
        """Checksum addresses."""
        return tuple(self._signers)

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
        """Return the signed bytes of a call to the management contract; see `Signers.sign`."""
        unsigned = unsigned_private_transaction(
            PrivateTransaction(
                private_nonce=private_nonce,
                private_from=private_from,
                to=MANAGEMENT_PROXY,
                data=payload,
                privacy_group_id=privacy_group_id,
                chain_id=chain_id,
                gas_limit=self._gas_limit,
                gas_price=self._gas_price,
            )
        )
        return unsigned.signed(await self._signature(account, unsigned.message))

    async def sign_statement(self, account: str, text: bytes) -> bytes:
        """Return the signature of a statement; see `Signers.sign_statement`."""
        return (await self._signature(account, statement_message(text))).statement_bytes()

    async def _signature(self, account: str, message: bytes) -> Signature:
        # Away is also what a signature comes to that nobody waits for any more.
        signer, began, outcome = self._signers[account], time.monotonic(), Outcome.AWAY
        try:
            signature = await signer.sign(message)
            outcome = Outcome.SIGNED
        except SignerAwayError as error:
            raise NodeError(Reason(slug="signer_away", detail=str(error))) from error
        except WrongSignatureError as error:
            outcome = Outcome.WRONG
            # Whoever answers for the signer has another key, or none: nothing of ours looks like that.
            log.critical("wrong signature", account=account, reason=str(error))
            raise NodeError(Reason(slug="signer_wrong", detail=str(error))) from error
        except SignerError as error:
            outcome = Outcome.REFUSED
            raise NodeError(Reason(slug="signer_refused", detail=str(error))) from error
        finally:
            self._on_signature(outcome, time.monotonic() - began)
        return signature
