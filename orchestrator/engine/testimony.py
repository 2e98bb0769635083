"""What other organisations' daemons say of their own nodes: reading it, checking it, and remembering the newest.

A verdict is a CloudEvent of the type `VERDICT_TYPE` on a subject that organisations share. Whoever may publish there
may publish anything: what is no valid verdict of a configured peer costs one line in the log.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Protocol

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from orchestrator.engine.isolation import contained
from orchestrator.engine.newest_words import NewestWords
from orchestrator.engine.ports import Clock
from orchestrator.membership.verdicts import (
    MOST_ROOTS,
    MemberVerdict,
    RootAt,
    SignedVerdict,
    refusal,
    statement,
    verdict_data,
)
from orchestrator.outside_text import told

VERDICT_TYPE: Final = "membership.member.verdict.v1"
SOURCE: Final = "/besu-membership-orchestrator"
MAX_BODY_BYTES: Final = 512 * 1024
MOST_VALUES: Final = 4 * MOST_ROOTS + 600
"""Each root of a verdict is an object with three fields."""


_Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
_Block = Annotated[int, Field(ge=0, lt=1 << 63)]

log = structlog.get_logger()


class Verdicts(Protocol):
    """What of the message queue testimony uses."""

    def verdicts(self) -> AsyncIterator[bytes]:
        """Yield the bodies of verdicts until cancelled, some of them again; reconnects by itself."""


class InvalidVerdictError(ValueError):
    """What came in is no verdict; the message says why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VerdictRoot(_Part):
    """The group's state root at one block, signed by who shows it; empty where the node has no state of the group."""

    block_number: _Block
    block_hash: _Hash
    state_root: _Hash | Literal[""]


class VerdictData(_Part):
    """What a member's own daemon saw on its node, and signed."""

    privacy_group_id: Annotated[str, Field(min_length=44, max_length=44)]
    member: Annotated[str, Field(min_length=1, max_length=124)]
    chain_id: _Block
    roots: Annotated[tuple[VerdictRoot, ...], Field(min_length=1, max_length=MOST_ROOTS)]
    head: _Block
    issued_at: AwareDatetime
    account: Annotated[str, Field(pattern=r"^0x[0-9a-f]{40}$")]
    signature: Annotated[str, Field(pattern=r"^0x[0-9a-f]{130}$")]


class _Document(BaseModel):
    type: Literal["membership.member.verdict.v1"]
    data: VerdictData


def encode_verdict(signed: SignedVerdict) -> bytes:
    """Return a verdict as a CloudEvents JSON document."""
    data = verdict_data(signed.verdict) | {"account": signed.account, "signature": "0x" + signed.signature.hex()}
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": signed.signature.hex()[:64],
        "source": SOURCE,
        "type": VERDICT_TYPE,
        "time": signed.verdict.issued_at.isoformat(),
        "subject": signed.verdict.privacy_group_id,
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(document).encode()


def decode_verdict(body: bytes) -> SignedVerdict:
    """Return the verdict in a message.

    Raises:
        InvalidVerdictError: It is none.
    """
    try:
        data = _Document.model_validate_json(bounded(body)).data
        issued_at = data.issued_at.astimezone(UTC)
    except OverflowError:
        raise InvalidVerdictError("data.issued_at: is beyond the first or the last year") from None
    except ValidationError as error:
        raise InvalidVerdictError(first_mistake(error)) from None
    roots = tuple(
        RootAt(block_number=root.block_number, block_hash=root.block_hash, state_root=root.state_root)
        for root in data.roots
    )
    verdict = MemberVerdict(
        privacy_group_id=data.privacy_group_id,
        enclave_key=data.member,
        chain_id=data.chain_id,
        roots=roots,
        head=data.head,
        issued_at=issued_at,
    )
    return SignedVerdict(verdict=verdict, account=data.account, signature=bytes.fromhex(data.signature[2:]))


def first_mistake(error: ValidationError) -> str:
    """Return what is wrong with a message: where, and why, in a bounded number of characters."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"][:5])[:100]
    return told(f"{where or 'body'}: {first['msg'][:200]}")


def bounded(body: bytes) -> bytes:
    """Return a message that has no more values than any that organisations send: validating takes time for each.

    Raises:
        InvalidVerdictError: It has more values or bytes.
    """
    if len(body) > MAX_BODY_BYTES:
        raise InvalidVerdictError(f"it has {len(body)} bytes, at most {MAX_BODY_BYTES} are read")
    values = body.count(b"{") + body.count(b",") + body.count(b"[")
    if values > MOST_VALUES:
        raise InvalidVerdictError(f"it has {values} values, at most {MOST_VALUES} are read")
    return body


class VerdictBook:
    """The newest believed verdict about each member of each group; a bounded number of them.

    Args:
        peers: By enclave key the account that may speak for it.
        signer_of: Tells the account that signed a statement; None when it is no signature.
    """

    def __init__(self, peers: Mapping[str, str], signer_of: Callable[[bytes, bytes], str | None]) -> None:
        self._peers = {key: account.lower() for key, account in peers.items()}
        self._signer_of = signer_of
        self._newest: NewestWords[SignedVerdict] = NewestWords()

    def expects(self, enclave_key: str) -> bool:
        """Return whether somebody is configured to speak for a member."""
        return enclave_key in self._peers

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
        # A signature is only computed with for a peer that is configured.
        claimed = self._peers.get(said.enclave_key) == signed.account
        signer = self._signer_of(statement(said), signed.signature) if claimed else None
        reason = refusal(signed, self._peers, signer, now)
        if reason is not None:
            log.warning(
                "verdict ignored",
                reason=reason,
                group=said.privacy_group_id,
                member=said.enclave_key,
                by=signed.account,
            )
            return False
        if not self._newest.keep(said.privacy_group_id, said.enclave_key, signed, said.issued_at):
            return False
        log.info("verdict taken", group=said.privacy_group_id, member=said.enclave_key, by=signed.account)
        return True


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
            kind = _Kind.model_validate_json(bounded(body)).type
        except InvalidVerdictError as error:
            log.warning("message ignored", reason=str(error))
            return
        except ValidationError as error:
            log.warning("message ignored", reason=first_mistake(error))
            return
        taker = self._takers.get(kind)
        if taker is None:  # of a newer release, or not for us
            log.debug("message passed over", type=kind)
            return
        taker(body, self._clock.now())
