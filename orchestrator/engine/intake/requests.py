"""Requests for a change of membership as they come in: CloudEvents around one small validated document. Pure.

One parser serves every way in (message queue, HTTP, command line), so that a request means the same everywhere.
`orchestrator.engine.messages.cloud_events` knows how each protocol carries them.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, NoReturn, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from orchestrator.engine.intake.request_mistakes import MAX_DEADLINE_SECONDS, MAX_MEMBERS, PHRASES, mistakes_of
from orchestrator.engine.messages.base64_texts import ENCLAVE_KEY_BYTES, GROUP_ID_BYTES, base64_bytes
from orchestrator.engine.messages.cloud_events import NATS, Binding, CloudEvent, InvalidEventError, decode, decode_batch
from orchestrator.engine.messages.strict_json import StrictJsonError, first_repeated, load, shown
from orchestrator.membership.model import Kind, Repair
from orchestrator.membership.tracing import TraceContext, carried_trace
from orchestrator.outside_text import LONGEST_TEXT, presentable

REQUEST_TYPE: Final = "membership.change.requested.v1"
MAX_BODY_BYTES: Final = 256 * 1024
MAX_ID_CHARACTERS: Final = 256
MAX_SOURCE_CHARACTERS: Final = 1024

OWN_SOURCE: Final = "/besu-membership-orchestrator"
"""The source of requests that come without one: over HTTP, from the command line, and the daemon's own."""

_LONGEST_FIELD = 128
_HASH = re.compile(r"0x[0-9a-fA-F]{64}\Z")
_ACCOUNT = re.compile(r"0x[0-9a-fA-F]{40}\Z")


class InvalidRequestError(ValueError):
    """A request that can't be accepted as it is; sending the same again can't help.

    Attributes:
        field: What is wrong, as a path (``data.members.0``, ``id``, ``body``).
        message: What it should be, to be read after the field.
        request_id: The request's id; None when not even that could be read.
        privacy_group_id: The group that it names; None when it names no valid one.
    """

    def __init__(
        self, field: str, message: str, *, request_id: str | None = None, privacy_group_id: str | None = None
    ) -> None:
        self.field = presentable(field, _LONGEST_FIELD)
        self.message = presentable(message)
        super().__init__(f"{self.field} {self.message}")
        self.request_id = request_id
        self.privacy_group_id = privacy_group_id


def _checked_group_id(text: str) -> str:
    # Canonical: two spellings of one id would be two groups to everything that compares texts.
    if base64_bytes(text) != GROUP_ID_BYTES:
        raise PydanticCustomError("group_id", "must be canonical base64 of exactly 32 bytes")
    return text


def _checked_enclave_key(text: str) -> str:
    if base64_bytes(text) not in ENCLAVE_KEY_BYTES:
        raise PydanticCustomError(
            "enclave_key", "must be an enclave key: canonical base64 of 32 bytes (NaCl) or 91 bytes (EC)"
        )
    return text


def _checked_account(text: str) -> str:
    if not _ACCOUNT.match(text):
        raise PydanticCustomError("account", "must be an account's address: 0x and 40 hexadecimal digits")
    return text


def _checked_hash(text: str) -> str:
    if not _HASH.match(text):
        raise PydanticCustomError("hash", "must be a transaction's hash: 0x and 64 hexadecimal digits")
    return text.lower()


def _whole(value: object) -> object:
    """Return 60 for 60.0: to JSON, and to who writes all numbers with a point, it is the same number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class RequestData(BaseModel):
    """What is asked for: the ``data`` of a trigger and the body of an HTTP request."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: Kind = Field(description="What is to be done.")
    privacy_group_id: Annotated[str, AfterValidator(_checked_group_id)] | None = Field(
        default=None,
        description="The group: canonical base64 of 32 bytes. Only create_group may leave it out: then one is chosen.",
    )
    members: tuple[Annotated[str, AfterValidator(_checked_enclave_key)], ...] = Field(
        default=(),
        max_length=MAX_MEMBERS,
        description="Enclave keys, each once: canonical base64 of 32 bytes (NaCl) or 91 bytes (EC). "
        "At least one, except for unlock_group, which names none.",
    )
    account: Annotated[str, AfterValidator(_checked_account)] | None = Field(
        default=None, description="The owner's account: 0x and 40 digits. May be left out when one is configured."
    )
    deadline_seconds: Annotated[int, Field(ge=1, le=MAX_DEADLINE_SECONDS), BeforeValidator(_whole)] | None = Field(
        default=None,
        description="When to give up, in seconds after acceptance; never when left out.",
    )
    transaction: Annotated[str, AfterValidator(_checked_hash)] | None = Field(
        default=None,
        description="For cure_group: hash of the stale addition's marker, as the event has it that tells of it.",
    )
    reason: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = Field(
        default=None,
        description="Why, for the audit log; required for cure_group. No part of what is asked for: it may differ when "
        "sent again.",
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.privacy_group_id is None and self.kind is not Kind.CREATE_GROUP:
            _refuse("privacy_group_id", f"is required for {self.kind.value}: base64 of 32 bytes")
        if self.kind is Kind.UNLOCK_GROUP:
            if self.members:
                _refuse("members", "must be left out for unlock_group, which concerns the whole group")
        elif not self.members:
            _refuse("members", f"must name at least one enclave key for {self.kind.value}")
        self._fits_a_cure()
        repeated = first_repeated(self.members)
        if repeated is not None:
            _refuse("members", f"names {repeated} more than once")
        return self

    def _fits_a_cure(self) -> None:
        if self.kind is not Kind.CURE_GROUP:
            if self.transaction is not None:
                _refuse("transaction", "is for cure_group only")
            return
        if self.transaction is None:
            _refuse("transaction", "is required for cure_group: the stale addition's marker")
        if not (self.reason or "").strip():
            _refuse("reason", "is required for cure_group: it removes members to add them again")
        if self.deadline_seconds is not None:
            _refuse("deadline_seconds", "must be left out for cure_group: one that passes would leave members out")

    @property
    def repair(self) -> Repair | None:
        """What a cure is about; None for all else."""
        if self.transaction is None:
            return None
        return Repair(members=self.members, since_block=0, stale_pmt=self.transaction)

    @property
    def deadline(self) -> timedelta | None:
        """How long after acceptance to give up; None for never."""
        return None if self.deadline_seconds is None else timedelta(seconds=self.deadline_seconds)

    @property
    def body_hash(self) -> str:
        """SHA-256, hexadecimal, of what is asked for: the layout of the document does not matter."""
        # Defaults are left out: a field that a later release adds must not make a request that comes again another one.
        said: dict[str, Any] = self.model_dump(
            mode="json", include=set(RequestData.model_fields) - {"reason"}, exclude_defaults=True
        )
        if self.account is not None:
            said["account"] = self.account.lower()
        return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class ChangeRequest(RequestData):
    """A valid request: what is asked for, and source and id by which it is recognised when it comes again."""

    request_id: str = Field(min_length=1, max_length=MAX_ID_CHARACTERS)
    source: str = Field(default=OWN_SOURCE, min_length=1, max_length=MAX_SOURCE_CHARACTERS)
    trace: TraceContext | None = None


def parse_trigger(body: bytes, headers: Mapping[str, str], binding: Binding = NATS) -> ChangeRequest:
    """Read a CloudEvent, in structured or in binary mode, as a request for a change.

    Args:
        body: The message, at most `MAX_BODY_BYTES`.
        headers: Its headers, names in lower case.
        binding: How it was carried.

    Raises:
        InvalidRequestError: It is no CloudEvent of type `REQUEST_TYPE`, or what it asks for is not valid.
    """
    return request_of(read_event(body, headers, binding), headers)


def read_event(body: bytes, headers: Mapping[str, str], binding: Binding = NATS) -> CloudEvent:
    """Read a CloudEvent whose content is not looked at yet; see `parse_trigger`.

    Raises:
        InvalidRequestError: It is none.
    """
    _check_bytes(body, "body")
    try:
        return decode(body, headers, binding)
    except InvalidEventError as error:
        raise InvalidRequestError(error.field, error.message) from None


def parse_batch(body: bytes) -> tuple[ChangeRequest, ...]:
    """Read a list of CloudEvents as requests; all of them are valid, or none is taken.

    Raises:
        InvalidRequestError: It is none, or an event in it is not valid: its place stands before the field.
    """
    _check_bytes(body, "body")
    try:
        found = decode_batch(body)
    except InvalidEventError as error:
        raise InvalidRequestError(error.field, error.message) from None
    requests: list[ChangeRequest] = []
    asked: dict[tuple[str, str], str] = {}
    for place, cloud_event in enumerate(found):
        try:
            request = request_of(cloud_event, {})
        except InvalidRequestError as error:
            field = f"{place}.{error.field}"
            raise InvalidRequestError(field, error.message, request_id=error.request_id) from None
        # Within the list, too: of two events under one id the second would be taken for the first again.
        if asked.setdefault((request.source, request.request_id), request.body_hash) != request.body_hash:
            # Found only when it is stored, this would leave those before it accepted.
            message = "is that of an earlier event in the list, which asks for something else"
            raise InvalidRequestError(f"{place}.id", message, request_id=request.request_id)
        requests.append(request)
    return tuple(requests)


def request_of(found: CloudEvent, headers: Mapping[str, str]) -> ChangeRequest:
    """Return what a CloudEvent asks for, that came with some headers.

    Raises:
        InvalidRequestError: It is not of type `REQUEST_TYPE`, or what it asks for is not valid.
    """
    request_id = checked_request_id(found.attributes.get("id"), field="id")
    try:
        found.checked_type(REQUEST_TYPE)
        source = _text(found.attributes.get("source"), "source", MAX_SOURCE_CHARACTERS)
        request = parse_request(request_id, found.data(), path="data", source=source)
    except InvalidEventError as error:
        raise InvalidRequestError(error.field, error.message, request_id=request_id) from None
    except InvalidRequestError as error:
        error.request_id = request_id
        raise
    # The event's own trace (CloudEvents' extension for it) goes before that of whatever carried it on the way.
    return request.model_copy(update={"trace": carried_trace(found.attributes) or carried_trace(headers)})


def parse_request(request_id: str, data: object, *, path: str = "", source: str = OWN_SOURCE) -> ChangeRequest:
    """Validate what is asked for, given as parsed JSON.

    Args:
        request_id: The id by which the request is recognised when it comes again (see `checked_request_id`).
        data: The parsed JSON document, shaped as `RequestData`.
        path: What errors call the document; empty when its fields stand at the top.
        source: Who asks; ids are unique within a source (CloudEvents 1.0.2, ``source`` + ``id``).

    Raises:
        InvalidRequestError: It is not valid; its field is the first wrong one, and its message has the others.
    """
    _check_size(request_id, data, path)
    try:
        wanted = RequestData.model_validate_json(json.dumps(data))
    except RecursionError:
        raise InvalidRequestError(path or "body", "is nested too deeply", request_id=request_id) from None
    except ValidationError as error:
        field, message = mistakes_of(error, path)
        raise InvalidRequestError(
            field, message, request_id=request_id, privacy_group_id=_group_named_in(data)
        ) from None
    said = {name: getattr(wanted, name) for name in RequestData.model_fields}
    return ChangeRequest(request_id=checked_request_id(request_id, field="id"), source=source, **said)


def parse_json(body: bytes, *, field: str = "body") -> object:
    """Parse a JSON document strictly: UTF-8, no name twice in one object, no numbers that JSON does not have.

    Raises:
        InvalidRequestError: It is too long or no such document.
    """
    _check_bytes(body, field)
    try:
        return load(body)
    except StrictJsonError as error:
        raise InvalidRequestError(field, str(error)) from None


def checked_request_id(text: object, *, field: str) -> str:
    """Return a request id if it may be one: 1 to `MAX_ID_CHARACTERS` printable characters.

    Raises:
        InvalidRequestError: It may not; names `field`.
    """
    return _text(text, field, MAX_ID_CHARACTERS)


def _check_size(request_id: str, data: object, path: str) -> None:
    """Refuse what is too large for a request before it is validated, which takes time for each part of it."""
    if not isinstance(data, dict):
        raise InvalidRequestError(path or "body", "must be an object", request_id=request_id)
    within = f"{path}." if path else ""
    # One by one and before pydantic, which would list each of thousands of unknown fields.
    for name in data:
        if name not in RequestData.model_fields:
            raise InvalidRequestError(
                f"{within}{name[:_LONGEST_FIELD]}",
                "is not a known field",
                request_id=request_id,
                privacy_group_id=_group_named_in(data),
            )
    members = data.get("members")
    if isinstance(members, list) and len(members) > MAX_MEMBERS:
        raise InvalidRequestError(
            f"{within}members",
            PHRASES["too_long"],
            request_id=request_id,
            privacy_group_id=_group_named_in(data),
        )


def _check_bytes(body: bytes, field: str) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequestError(field, f"has {len(body)} bytes, at most {MAX_BODY_BYTES} are allowed")


def _text(value: object, field: str, longest: int) -> str:
    if value is None or value == "":
        raise InvalidRequestError(field, "is required")
    if not isinstance(value, str) or not value.isprintable():
        raise InvalidRequestError(field, f"must be printable text, not {shown(value)}")
    if len(value) > longest:
        raise InvalidRequestError(field, f"has {len(value)} characters, at most {longest} are allowed")
    return value


def _refuse(field: str, message: str) -> NoReturn:
    raise PydanticCustomError("unfit", "{message}", {"field": field, "message": message})


def _group_named_in(data: object) -> str | None:
    named = data.get("privacy_group_id") if isinstance(data, dict) else None
    return named if isinstance(named, str) and base64_bytes(named) == GROUP_ID_BYTES else None
