"""Questions about new members and their answers on the wire: CloudEvents on the subject that verdicts share."""

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from orchestrator.engine.attestation.verdict_messages import Block, Hash, Part, Said, encode_signed, read, utc
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


class InquiryRoot(Part):
    """A block of the group's history, and the state root behind it."""

    block_number: Block
    state_root: Hash


class InquiryData(Said):
    """The question whether a member may be added: would its node survive the group's history?"""

    blocks: Annotated[tuple[InquiryRoot, ...], Field(max_length=MOST_BLOCKS)]
    whole: bool
    through: Block
    through_hash: Hash

    @model_validator(mode="after")
    def _in_order(self) -> "InquiryData":
        numbers = [root.block_number for root in self.blocks]
        if numbers != sorted(set(numbers)):
            raise ValueError("blocks: must be in order, each once")
        return self


class AttestationData(Said):
    """The answer of the member's own daemon; an empty ``trouble`` says that it may."""

    block_number: Block
    block_hash: Hash
    last: Block
    trouble: Literal["", *TROUBLES]  # type: ignore[valid-type] # the slugs stand in one place
    detail: Annotated[str, Field(max_length=MOST_CHARACTERS)]
    expires_at: AwareDatetime


class _AskedDocument(BaseModel):
    data: InquiryData


class _AnsweredDocument(BaseModel):
    data: AttestationData


def encode_word(signed: Signed) -> bytes:
    """Return a signed question or answer as a CloudEvents JSON document."""
    word = signed.word
    event_type = INQUIRY_TYPE if isinstance(word, Inquiry) else ATTESTATION_TYPE
    subject, at, data = word.privacy_group_id, word.issued_at, word_data(word)
    return encode_signed(event_type, subject, at, data, account=signed.account, signature=signed.signature)


def decode_inquiry(body: bytes) -> Signed:
    """Return the question in a message.

    Raises:
        InvalidVerdictError: It is none.
    """
    data = read(_AskedDocument, body).data
    word = Inquiry(
        privacy_group_id=data.privacy_group_id,
        enclave_key=data.member,
        chain_id=data.chain_id,
        blocks=tuple((root.block_number, root.state_root) for root in data.blocks),
        whole=data.whole,
        through=data.through,
        through_hash=data.through_hash,
        issued_at=utc(data.issued_at),
    )
    return Signed(word=word, account=data.account, signature=bytes.fromhex(data.signature[2:]))


def decode_attestation(body: bytes) -> Signed:
    """Return the answer in a message.

    Raises:
        InvalidVerdictError: It is none.
    """
    data = read(_AnsweredDocument, body).data
    word = Attestation(
        privacy_group_id=data.privacy_group_id,
        enclave_key=data.member,
        chain_id=data.chain_id,
        block_number=data.block_number,
        block_hash=data.block_hash,
        last=data.last,
        trouble=data.trouble,
        detail=data.detail,
        issued_at=utc(data.issued_at),
        expires_at=utc(data.expires_at),
    )
    return Signed(word=word, account=data.account, signature=bytes.fromhex(data.signature[2:]))
