"""Questions about new members and their answers on the wire: CloudEvents on the subject that verdicts share."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator.engine.attestation.verdict_messages import SOURCE, InvalidVerdictError, bounded, first_mistake
from orchestrator.membership.attestation.questions import (
    MOST_BLOCKS,
    MOST_CHARACTERS,
    TROUBLES,
    Attestation,
    Inquiry,
    Signed,
    word_data,
)

INQUIRY_TYPE: Final = "membership.addition.inquired.v1"
ATTESTATION_TYPE: Final = "membership.addition.attested.v1"

_Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
_Block = Annotated[int, Field(ge=0, lt=1 << 63)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InquiryRoot(_Part):
    """A block of the group's history, and the state root behind it."""

    block_number: _Block
    state_root: _Hash


class _Said(_Part):
    privacy_group_id: Annotated[str, Field(min_length=44, max_length=44)]
    member: Annotated[str, Field(min_length=1, max_length=124)]
    chain_id: _Block
    issued_at: AwareDatetime
    account: Annotated[str, Field(pattern=r"^0x[0-9a-f]{40}$")]
    signature: Annotated[str, Field(pattern=r"^0x[0-9a-f]{130}$")]


class InquiryData(_Said):
    """The question whether a member may be added: would its node survive the group's history?"""

    blocks: Annotated[tuple[InquiryRoot, ...], Field(max_length=MOST_BLOCKS)]
    whole: bool
    through: _Block
    through_hash: _Hash

    @model_validator(mode="after")
    def _in_order(self) -> "InquiryData":
        numbers = [root.block_number for root in self.blocks]
        if numbers != sorted(set(numbers)):
            raise ValueError("blocks: must be in order, each once")
        return self


class AttestationData(_Said):
    """The answer of the member's own daemon; an empty ``trouble`` says that it may."""

    block_number: _Block
    block_hash: _Hash
    last: _Block
    trouble: Literal["", *TROUBLES]  # type: ignore[valid-type] # the slugs stand in one place
    detail: Annotated[str, Field(max_length=MOST_CHARACTERS)]
    expires_at: AwareDatetime


_D = TypeVar("_D", bound=BaseModel)


class _AskedDocument(BaseModel):
    data: InquiryData


class _AnsweredDocument(BaseModel):
    data: AttestationData


def encode_word(signed: Signed) -> bytes:
    """Return a signed question or answer as a CloudEvents JSON document."""
    word = signed.word
    data = word_data(word) | {"account": signed.account, "signature": "0x" + signed.signature.hex()}
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": signed.signature.hex()[:64],
        "source": SOURCE,
        "type": INQUIRY_TYPE if isinstance(word, Inquiry) else ATTESTATION_TYPE,
        "time": word.issued_at.isoformat(),
        "subject": word.privacy_group_id,
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(document).encode()


def decode_inquiry(body: bytes) -> Signed:
    """Return the question in a message.

    Raises:
        InvalidVerdictError: It is none.
    """
    data = _read(_AskedDocument, body).data
    word = Inquiry(
        privacy_group_id=data.privacy_group_id,
        enclave_key=data.member,
        chain_id=data.chain_id,
        blocks=tuple((root.block_number, root.state_root) for root in data.blocks),
        whole=data.whole,
        through=data.through,
        through_hash=data.through_hash,
        issued_at=_utc(data.issued_at),
    )
    return Signed(word=word, account=data.account, signature=bytes.fromhex(data.signature[2:]))


def decode_attestation(body: bytes) -> Signed:
    """Return the answer in a message.

    Raises:
        InvalidVerdictError: It is none.
    """
    data = _read(_AnsweredDocument, body).data
    word = Attestation(
        privacy_group_id=data.privacy_group_id,
        enclave_key=data.member,
        chain_id=data.chain_id,
        block_number=data.block_number,
        block_hash=data.block_hash,
        last=data.last,
        trouble=data.trouble,
        detail=data.detail,
        issued_at=_utc(data.issued_at),
        expires_at=_utc(data.expires_at),
    )
    return Signed(word=word, account=data.account, signature=bytes.fromhex(data.signature[2:]))


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise InvalidVerdictError("data: a time is beyond the first or the last year") from None


def _read(shape: type[_D], body: bytes) -> _D:
    try:
        return shape.model_validate_json(bounded(body))
    except OverflowError:
        raise InvalidVerdictError("data: a time is beyond the first or the last year") from None
    except ValidationError as error:
        raise InvalidVerdictError(first_mistake(error)) from None
