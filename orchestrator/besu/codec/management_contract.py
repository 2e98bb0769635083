"""The group management contract in both ABIs: calls, answers and logs. Pure.

Source: docs/besu.md#versions, #addresses-and-events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from orchestrator.besu.codec.identifiers import (
    ENCLAVE_KEY_BYTES,
    NACL_KEY_BYTES,
    InvalidIdentifierError,
    bytes_to_hex,
    enclave_key_from_bytes,
    enclave_key_to_bytes,
)

MANAGEMENT_PROXY: Final = "0x000000000000000000000000000000000000007c"
MANAGEMENT_IMPLEMENTATION: Final = "0x000000000000000000000000000000000000007b"
PRIVACY_PRECOMPILE: Final = "0x000000000000000000000000000000000000007d"

MAX_MEMBERS: Final = 1024
MAX_OUTPUT_BYTES: Final = 1 << 20

ADDED_MESSAGE: Final = "Member account added successfully"
ALREADY_MEMBER_MESSAGE: Final = "Account is already a Member"
NOT_OWNER_MESSAGE: Final = "Origin not the owner."


class ManagementContractError(ValueError):
    """A call, an answer, a log or a code is not what the management contract speaks."""


class Abi(Enum):
    """The dialects of the management contract; the value is the type of an enclave key in it."""

    BYTES32 = "bytes32"
    BYTES = "bytes"
    LEGACY = "legacy"
    """Groups of Besu ≤ 1.5.2; recognised to be refused: no node since 1.5.3 can use them."""


class Method(Enum):
    """What the contract can be asked to do; the value is the name in the contract."""

    LOCK = "lock"
    UNLOCK = "unlock"
    ADD_PARTICIPANTS = "addParticipants"
    REMOVE_PARTICIPANT = "removeParticipant"
    GET_PARTICIPANTS = "getParticipants"
    CAN_EXECUTE = "canExecute"
    GET_VERSION = "getVersion"
    CAN_UPGRADE = "canUpgrade"


@dataclass(frozen=True, slots=True)
class ManagementCall:
    """Call data of the management contract, read.

    Attributes:
        method: what is called.
        members: enclave keys, base64, that are added (in order, repetitions kept) or removed.
        abi: the dialect of an add or a remove; None for methods that are the same in all.
    """

    method: Method
    members: tuple[str, ...] = ()
    abi: Abi | None = None


@dataclass(frozen=True, slots=True)
class ParticipantAdded:
    """One key of an ``addParticipants`` call; ``success`` is False when it was a member already."""

    member: str
    success: bool
    message: str


@dataclass(frozen=True, slots=True)
class ParticipantRemoved:
    """A key left the group."""

    member: str


@dataclass(frozen=True, slots=True)
class ContractLog:
    """A log as a node writes it: address and topics as "0x…" text, data as bytes."""

    address: str
    topics: tuple[str, ...]
    data: bytes


def selector(signature: str) -> bytes:
    """Return the four bytes that choose a function by its signature, such as "lock()"."""
    return keccak(signature.encode("ascii"))[:4]


def topic(signature: str) -> str:
    """Return the first topic, "0x…", of a log by the event's signature."""
    return bytes_to_hex(keccak(signature.encode("ascii")))


_PLAIN: Final = {
    method: selector(f"{method.value}()")
    for method in Method
    if method not in {Method.ADD_PARTICIPANTS, Method.REMOVE_PARTICIPANT}
}
_ADD: Final = {abi: selector(f"addParticipants({abi.value}[])") for abi in (Abi.BYTES32, Abi.BYTES)}
_REMOVE: Final = {abi: selector(f"removeParticipant({abi.value})") for abi in (Abi.BYTES32, Abi.BYTES)}
_LEGACY_ADD: Final = selector("addParticipants(bytes32,bytes32[])")
_ADDED_TOPIC: Final = {abi: topic(f"ParticipantAdded(bool,{abi.value},string)") for abi in (Abi.BYTES32, Abi.BYTES)}
_REMOVED_TOPIC: Final = {abi: topic(f"ParticipantRemoved({abi.value})") for abi in (Abi.BYTES32, Abi.BYTES)}
_PUSH4: Final = b"\x63"


def abi_of_code(code: bytes) -> Abi | None:
    """Tell the dialect of a group by its own code (``priv_getCode`` of the proxy); None when there is no code.

    A group keeps the code of the Besu version that created it, so the node's version says nothing about it.

    Raises:
        ManagementContractError: there is code, but it is no management contract that is known.
    """
    if not code:
        return None
    for abi, chosen in (*_ADD.items(), (Abi.LEGACY, _LEGACY_ADD)):
        if _PUSH4 + chosen in code:
            return abi
    raise ManagementContractError(
        f"the group's management contract ({len(code)} bytes) has no addParticipants that is known: "
        "it was replaced with upgradeTo by another contract, which this program cannot drive"
    )


def encode_call(method: Method) -> bytes:
    """Return the call data of a method without arguments.

    Raises:
        ManagementContractError: the method takes arguments; use its own function.
    """
    if method not in _PLAIN:
        raise ManagementContractError(f"{method.value} takes arguments")
    return _PLAIN[method]


def encode_add_participants(abi: Abi, members: Sequence[str]) -> bytes:
    """Return the call data that adds enclave keys (base64); with none it only unlocks the group.

    Raises:
        ManagementContractError: the dialect cannot express a key, or there are more than ``MAX_MEMBERS``.
        InvalidIdentifierError: a member is no enclave key.
    """
    if len(members) > MAX_MEMBERS:
        raise ManagementContractError(f"{len(members)} members in one call; at most {MAX_MEMBERS} are sent")
    keys = [_key_for(abi, member) for member in members]
    return _ADD[abi] + encode([f"{abi.value}[]"], [keys])


def encode_remove_participant(abi: Abi, member: str) -> bytes:
    """Return the call data that removes one enclave key (base64).

    Raises:
        ManagementContractError: the dialect cannot express the key.
        InvalidIdentifierError: the member is no enclave key.
    """
    key = _key_for(abi, member)
    return _REMOVE[abi] + encode([abi.value], [key])


def decode_call(data: bytes) -> ManagementCall | None:
    """Read call data sent to the management contract; None when it calls nothing that is known here.

    Raises:
        ManagementContractError: the selector is known and what follows it is not readable.
    """
    chosen, arguments = bytes(data[:4]), bytes(data[4:])
    for method, plain in _PLAIN.items():
        if chosen == plain:
            return ManagementCall(method)
    for abi in (Abi.BYTES32, Abi.BYTES):
        if chosen == _ADD[abi]:
            return ManagementCall(Method.ADD_PARTICIPANTS, _decode_keys(abi, arguments, "addParticipants"), abi)
        if chosen == _REMOVE[abi]:
            return ManagementCall(
                Method.REMOVE_PARTICIPANT, _members(_decode([abi.value], arguments, "removeParticipant")), abi
            )
    return None


def encode_participants(abi: Abi, members: Sequence[str]) -> bytes:
    """Return the answer of ``getParticipants`` in a dialect."""
    return encode([f"{abi.value}[]"], [[_key_for(abi, member) for member in members]])


def decode_participants(output: bytes) -> tuple[str, ...]:
    """Read the answer of ``getParticipants`` in either dialect: enclave keys, base64, in the contract's order.

    The two are told apart by length: an array of ``bytes32`` fills its answer exactly, one of ``bytes`` is longer.

    Raises:
        ManagementContractError: the answer is neither.
    """
    count = int.from_bytes(output[32:64])
    abi = Abi.BYTES32 if len(output) == 64 + 32 * count else Abi.BYTES
    return _decode_keys(abi, output, "getParticipants")


def decode_flag(output: bytes) -> bool | None:
    """Read a Boolean answer (``canExecute``, ``canUpgrade``, a simulated change); None for an empty one: no such group.

    Raises:
        ManagementContractError: the answer is no Boolean.
    """
    if not output:
        return None
    (flag,) = _decode(["bool"], output, "a Boolean answer")
    return bool(flag)


def decode_version(output: bytes) -> str | None:
    """Read the answer of ``getVersion``, "0x…" of 32 bytes; None for an empty one (no such group, or not replayed yet).

    Raises:
        ManagementContractError: the answer has another length.
    """
    if not output:
        return None
    if len(output) != 32:
        raise ManagementContractError(f"getVersion answered {len(output)} bytes instead of 32")
    return bytes_to_hex(output)


def participant_added_log(abi: Abi, member: str, *, success: bool) -> ContractLog:
    """Return the log that ``addParticipants`` writes for one key."""
    message = ADDED_MESSAGE if success else ALREADY_MEMBER_MESSAGE
    data = encode(["bool", abi.value, "string"], [success, _key_for(abi, member), message])
    return ContractLog(MANAGEMENT_IMPLEMENTATION, (_ADDED_TOPIC[abi],), data)


def participant_removed_log(abi: Abi, member: str) -> ContractLog:
    """Return the log that ``removeParticipant`` writes."""
    return ContractLog(MANAGEMENT_PROXY, (_REMOVED_TOPIC[abi],), encode([abi.value], [_key_for(abi, member)]))


def decode_log(log: ContractLog) -> ParticipantAdded | ParticipantRemoved | None:
    """Read a log of the management contract; None for any other log.

    Raises:
        ManagementContractError: it is such a log and its data are not readable.
    """
    if log.address not in {MANAGEMENT_PROXY, MANAGEMENT_IMPLEMENTATION} or not log.topics:
        return None
    for abi in (Abi.BYTES32, Abi.BYTES):
        if log.topics[0] == _ADDED_TOPIC[abi]:
            success, key, message = _decode(["bool", abi.value, "string"], log.data, "ParticipantAdded")
            return ParticipantAdded(_members([key])[0], bool(success), str(message))
        if log.topics[0] == _REMOVED_TOPIC[abi]:
            return ParticipantRemoved(_members(_decode([abi.value], log.data, "ParticipantRemoved"))[0])
    return None


def _key_for(abi: Abi, member: str) -> bytes:
    if abi is Abi.LEGACY:
        raise ManagementContractError(
            "the group was created by Besu 1.5.2 or older; no later version can change it, create a new group"
        )
    key = enclave_key_to_bytes(member)
    if abi is Abi.BYTES32 and len(key) != NACL_KEY_BYTES:
        raise ManagementContractError(
            f"the group's contract takes keys of {NACL_KEY_BYTES} bytes only, this one has {len(key)}; "
            "EC keys need a group created by Besu 22.10 or later"
        )
    return key


def _members(keys: Sequence[Any]) -> tuple[str, ...]:
    try:
        return tuple(enclave_key_from_bytes(key) for key in keys)
    except InvalidIdentifierError as error:
        raise ManagementContractError(f"a member is no enclave key: {error}") from error


def _decode_keys(abi: Abi, data: bytes, what: str) -> tuple[str, ...]:
    """Read an array of keys by hand: a general decoder copies what crafted offsets name again and again."""
    _check_size(data, what)
    start = int.from_bytes(data[:32])
    count = int.from_bytes(data[start : start + 32])
    first = start + 32
    if len(data) < first + 32 * count:
        raise ManagementContractError(f"{what}: {len(data)} bytes hold no array of {count} keys")
    if count > MAX_MEMBERS:
        raise ManagementContractError(f"{what}: {count} members; at most {MAX_MEMBERS} are read")
    words = [data[first + 32 * i : first + 32 * (i + 1)] for i in range(count)]
    if abi is Abi.BYTES32:
        return _members(words)
    keys = []
    for word in words:
        at = first + int.from_bytes(word)
        length = int.from_bytes(data[at : at + 32])
        if length not in ENCLAVE_KEY_BYTES or len(data) < at + 32 + length:
            raise ManagementContractError(f"{what}: a key is cut off or has another length than an enclave key")
        keys.append(data[at + 32 : at + 32 + length])
    return _members(keys)


def _decode(kinds: list[str], data: bytes, what: str) -> tuple[Any, ...]:
    _check_size(data, what)
    try:
        return decode(kinds, data)
    except (DecodingError, UnicodeDecodeError, OverflowError) as error:
        raise ManagementContractError(f"{what}: the data are not as declared ({type(error).__name__})") from error


def _check_size(data: bytes, what: str) -> None:
    if len(data) > MAX_OUTPUT_BYTES:
        raise ManagementContractError(f"{what}: {len(data)} bytes are too many; at most {MAX_OUTPUT_BYTES} are read")
