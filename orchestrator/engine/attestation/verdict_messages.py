"""Verdicts on the wire: CloudEvents of the type `VERDICT_TYPE` on a subject that organisations share. Pure."""

import json
from datetime import UTC
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from orchestrator.membership.attestation.verdicts import MOST_ROOTS, MemberVerdict, RootAt, SignedVerdict, verdict_data
from orchestrator.outside_text import presentable

VERDICT_TYPE: Final = "membership.member.verdict.v1"
SOURCE: Final = "/besu-membership-orchestrator"
MAX_BODY_BYTES: Final = 512 * 1024
MOST_VALUES: Final = 4 * MOST_ROOTS + 600
"""Each root of a verdict is an object with three fields."""


_Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
_Block = Annotated[int, Field(ge=0, lt=1 << 63)]


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
    refused_by_guard: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")] | None = None
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
        # Of the signature, so that a word which is published again is the same event.
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
        refused=data.refused_by_guard or "",
    )
    return SignedVerdict(verdict=verdict, account=data.account, signature=bytes.fromhex(data.signature[2:]))


def first_mistake(error: ValidationError) -> str:
    """Return what is wrong with a message: where, and why, in a bounded number of characters."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"][:5])[:100]
    return presentable(f"{where or 'body'}: {first['msg'][:200]}")


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
