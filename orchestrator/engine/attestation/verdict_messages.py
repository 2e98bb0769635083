"""Verdicts on the wire: CloudEvents of the type `VERDICT_TYPE` on a subject that organisations share. Pure."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from orchestrator.membership.attestation.verdicts import MOST_ROOTS, MemberVerdict, RootAt, SignedVerdict, verdict_data
from orchestrator.outside_text import presentable

VERDICT_TYPE: Final = "membership.member.verdict.v1"
SOURCE: Final = "/besu-membership-orchestrator"
MAX_BODY_BYTES: Final = 512 * 1024
MOST_VALUES: Final = 4 * MOST_ROOTS + 600
"""Each root of a verdict is an object with three fields."""

_BEYOND: Final = "data: a time is beyond the first or the last year"

Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Block = Annotated[int, Field(ge=0, lt=1 << 63)]

_D = TypeVar("_D", bound=BaseModel)


class InvalidVerdictError(ValueError):
    """What came in is no verdict; the message says why."""


class Part(BaseModel):
    """A part of a message, which has no fields but these."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Said(Part):
    """What all words of a daemon have: of whom, when, and who signed it."""

    privacy_group_id: Annotated[str, Field(min_length=44, max_length=44)]
    member: Annotated[str, Field(min_length=1, max_length=124)]
    chain_id: Block
    issued_at: AwareDatetime
    account: Annotated[str, Field(pattern=r"^0x[0-9a-f]{40}$")]
    signature: Annotated[str, Field(pattern=r"^0x[0-9a-f]{130}$")]


class VerdictRoot(Part):
    """The group's state root at one block, signed by who shows it; empty where the node has no state of the group."""

    block_number: Block
    block_hash: Hash
    state_root: Hash | Literal[""]


class VerdictData(Said):
    """What a member's own daemon saw on its node, and signed."""

    roots: Annotated[tuple[VerdictRoot, ...], Field(min_length=1, max_length=MOST_ROOTS)]
    head: Block
    refused_by_guard: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")] | None = None


class _Document(BaseModel):
    type: Literal["membership.member.verdict.v1"]
    data: VerdictData


def encode_verdict(signed: SignedVerdict) -> bytes:
    """Return a verdict as a CloudEvents JSON document."""
    verdict = signed.verdict
    subject, at, data = verdict.privacy_group_id, verdict.issued_at, verdict_data(verdict)
    return encode_signed(VERDICT_TYPE, subject, at, data, account=signed.account, signature=signed.signature)


def decode_verdict(body: bytes) -> SignedVerdict:
    """Return the verdict in a message.

    Raises:
        InvalidVerdictError: It is none.
    """
    data = read(_Document, body).data
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
        issued_at=utc(data.issued_at),
        refused=data.refused_by_guard or "",
    )
    return SignedVerdict(verdict=verdict, account=data.account, signature=bytes.fromhex(data.signature[2:]))


def encode_signed(
    event_type: str, group: str, issued_at: datetime, data: Mapping[str, object], *, account: str, signature: bytes
) -> bytes:
    """Return a signed word about a member of a group as a CloudEvents JSON document."""
    document: dict[str, Any] = {
        "specversion": "1.0",
        # Of the signature, so that a word which is published again is the same event.
        "id": signature.hex()[:64],
        "source": SOURCE,
        "type": event_type,
        "time": issued_at.isoformat(),
        "subject": group,
        "datacontenttype": "application/json",
        "data": {**data, "account": account, "signature": "0x" + signature.hex()},
    }
    return json.dumps(document).encode()


def read(shape: type[_D], body: bytes) -> _D:
    """Return a message as what it should be.

    Raises:
        InvalidVerdictError: It is something else.
    """
    try:
        return shape.model_validate_json(_bounded(body))
    except OverflowError:
        raise InvalidVerdictError(_BEYOND) from None
    except ValidationError as error:
        raise InvalidVerdictError(_first_mistake(error)) from None


def utc(at: datetime) -> datetime:
    """Return the same instant in UTC.

    Raises:
        InvalidVerdictError: It is beyond what dates can be.
    """
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise InvalidVerdictError(_BEYOND) from None


def _first_mistake(error: ValidationError) -> str:
    """Return what is wrong with a message: where, and why, in a bounded number of characters."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"][:5])[:100]
    return presentable(f"{where or 'body'}: {first['msg'][:200]}")


def _bounded(body: bytes) -> bytes:
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
