"""What other organisations' daemons say of their own nodes: checking it, and remembering the newest.

Whoever may publish where organisations' daemons do may publish anything: what is no valid verdict of a configured peer
costs one line in the log.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Annotated, Protocol

import structlog
from pydantic import BaseModel, Field

from orchestrator.engine.attestation.newest_statements import PeerBook
from orchestrator.engine.attestation.verdict_messages import InvalidVerdictError, decode_verdict, read
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.runtime.isolation import contained
from orchestrator.membership.attestation.verdicts import SignedVerdict, refusal, statement

log = structlog.get_logger()


class Verdicts(Protocol):
    """What of the message queue a book of verdicts uses."""

    def verdicts(self) -> AsyncIterator[bytes]:
        """Yield the bodies of verdicts until cancelled, some of them again; reconnects by itself."""


class VerdictBook(PeerBook[SignedVerdict]):
    """The newest believed verdict about each member of each group; a bounded number of them.

    Args:
        peers: By enclave key the account that may speak for it.
        signer_of: Tells the account that signed a statement; None when it is no signature.
    """

    def newest(self, privacy_group_id: str, enclave_key: str) -> SignedVerdict | None:
        """Return the newest believed verdict about a member in a group."""
        return self._newest.get(privacy_group_id, enclave_key)

    def take(self, body: bytes, now: datetime) -> bool:
        """Remember a verdict that came in, if it is to be believed and new; tells whether it was remembered."""
        try:
            signed = decode_verdict(body)
        except InvalidVerdictError as error:
            log.warning("verdict ignored", reason=str(error))
            return False
        said = signed.verdict
        signer = self._signer(said.enclave_key, signed.account, statement(said), signed.signature)
        return self._keep("verdict", said, signed.account, signed, refusal(signed, self._peers, signer, now))


class _Kind(BaseModel):
    type: Annotated[str, Field(max_length=200)]


Taker = Callable[[bytes, datetime], object]
"""Takes a message of one type, and the present time; what is wrong with it is logged, not raised."""


class VerdictReader:
    """Takes what other organisations' daemons say from the message queue to those who remember or answer it.

    Args:
        queue: The message queue.
        takers: By type of message.
        clock: Time.
    """

    def __init__(self, queue: Verdicts, takers: Mapping[str, Taker], clock: Clock) -> None:
        self._queue = queue
        self._takers = dict(takers)
        self._clock = clock

    async def run(self) -> None:
        """Take messages until cancelled."""
        async for body in self._queue.verdicts():
            with contained("message of an organisation"):
                self._take(body)

    def _take(self, body: bytes) -> None:
        try:
            kind = read(_Kind, body).type
        except InvalidVerdictError as error:
            log.warning("message ignored", reason=str(error))
            return
        taker = self._takers.get(kind)
        if taker is None:  # of a newer release, or not for us
            log.debug("message passed over", type=kind)
            return
        taker(body, self._clock.now())
