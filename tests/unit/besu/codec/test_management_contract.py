from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.codec.identifiers import enclave_key_from_bytes
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_IMPLEMENTATION,
    MANAGEMENT_PROXY,
    MAX_MEMBERS,
    MAX_OUTPUT_BYTES,
    Abi,
    ContractLog,
    ManagementCall,
    ManagementContractError,
    Method,
    ParticipantAdded,
    ParticipantRemoved,
    abi_of_code,
    decode_call,
    decode_flag,
    decode_log,
    decode_participants,
    decode_version,
    encode_add_participants,
    encode_call,
    encode_participants,
    encode_remove_participant,
    participant_added_log,
    participant_removed_log,
)

KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="
EC_KEY = enclave_key_from_bytes(bytes(range(91)))

nacl = st.binary(min_size=32, max_size=32).map(enclave_key_from_bytes)
ec = st.binary(min_size=91, max_size=91).map(enclave_key_from_bytes)
dialects = st.sampled_from([Abi.BYTES32, Abi.BYTES])


@pytest.mark.parametrize(
    ("data", "selector"),
    [
        (encode_call(Method.LOCK), "f83d08ba"),
        (encode_call(Method.UNLOCK), "a69df4b5"),
        (encode_call(Method.GET_PARTICIPANTS), "5aa68ac0"),
        (encode_call(Method.CAN_EXECUTE), "78b90337"),
        (encode_call(Method.GET_VERSION), "0d8e6e2c"),
        (encode_call(Method.CAN_UPGRADE), "9738968c"),
        (encode_add_participants(Abi.BYTES32, [KEY])[:4], "b4926e25"),
        (encode_add_participants(Abi.BYTES, [KEY])[:4], "965a25ef"),
        (encode_remove_participant(Abi.BYTES32, KEY)[:4], "fd017797"),
        (encode_remove_participant(Abi.BYTES, KEY)[:4], "1f52a8ee"),
    ],
)
def test_selectors_are_those_of_the_contract(data: bytes, selector: str) -> None:
    """Each call starts with the selector that docs/besu.md#versions lists."""
    assert data.hex() == selector


@given(dialects, st.lists(nacl, max_size=8))
def test_adds_are_read_back(abi: Abi, members: list[str]) -> None:
    """The call data of an add say the same members, repetitions kept, in both dialects, also with nobody."""
    call = decode_call(encode_add_participants(abi, members))
    assert call == ManagementCall(Method.ADD_PARTICIPANTS, tuple(members), abi)


@given(dialects, nacl)
def test_removes_are_read_back(abi: Abi, member: str) -> None:
    """The call data of a remove say the same member in both dialects."""
    assert decode_call(encode_remove_participant(abi, member)) == ManagementCall(
        Method.REMOVE_PARTICIPANT, (member,), abi
    )


@given(dialects, st.lists(nacl, max_size=8, unique=True))
def test_participants_are_read_in_either_dialect(abi: Abi, members: list[str]) -> None:
    """The answer of getParticipants is read without knowing the dialect."""
    assert decode_participants(encode_participants(abi, members)) == tuple(members)


@given(st.lists(st.one_of(nacl, ec), max_size=8, unique=True))
def test_keys_of_both_kinds_are_read_from_bytes(members: list[str]) -> None:
    """NaCl and EC keys mix in a group of the bytes[] dialect."""
    assert decode_participants(encode_participants(Abi.BYTES, members)) == tuple(members)
    call = decode_call(encode_add_participants(Abi.BYTES, members))
    assert call is not None
    assert call.members == tuple(members)


@pytest.mark.parametrize(
    "method", [method for method in Method if "articipant" not in method.value] + [Method.GET_PARTICIPANTS]
)
def test_calls_without_arguments_are_read_back(method: Method) -> None:
    """Each plain method is told by its selector."""
    assert decode_call(encode_call(method)) == ManagementCall(method)


@pytest.mark.parametrize("method", [Method.ADD_PARTICIPANTS, Method.REMOVE_PARTICIPANT])
def test_methods_with_arguments_are_not_plain(method: Method) -> None:
    """A method that takes keys cannot be called without."""
    with pytest.raises(ManagementContractError, match="takes arguments"):
        encode_call(method)


def test_other_calls_are_left_alone() -> None:
    """Call data of applications are nothing that is known here."""
    assert decode_call(b"") is None
    assert decode_call(bytes.fromhex("deadbeef") + bytes(64)) is None


@given(st.sampled_from(["b4926e25", "965a25ef", "fd017797", "1f52a8ee"]), st.binary(max_size=300))
def test_hostile_arguments_are_refused_or_read(selector: str, arguments: bytes) -> None:
    """Whatever follows a known selector is read or raises the one error for it."""
    with suppress(ManagementContractError):
        decode_call(bytes.fromhex(selector) + arguments)


@given(st.binary(max_size=400))
def test_hostile_answers_are_refused_or_read(output: bytes) -> None:
    """Whatever a node answers for getParticipants is read or raises the one error for it."""
    with suppress(ManagementContractError):
        decode_participants(output)


def word(number: int) -> bytes:
    return number.to_bytes(32)


@pytest.mark.parametrize(
    "output",
    [
        b"",
        word(32),
        word(2**255) + word(1),
        word(32) + word(2**200),
        word(32) + word(MAX_MEMBERS + 1) + bytes(32 * (MAX_MEMBERS + 1)),
        word(32) + word(1) + word(32) + word(33) + bytes(64),
        word(32) + word(1) + word(2**100) + word(32) + bytes(32),
        bytes(MAX_OUTPUT_BYTES + 32),
    ],
    ids=["nothing", "cut off", "far offset", "vast count", "too many", "odd key", "far key", "too long"],
)
def test_answers_that_are_no_list_of_keys_are_refused(output: bytes) -> None:
    """Counts, offsets and lengths are bounded before anything is copied."""
    with pytest.raises(ManagementContractError):
        decode_participants(output)


@pytest.mark.parametrize(
    ("code", "abi"),
    [
        (b"", None),
        (bytes.fromhex("608063965a25ef14"), Abi.BYTES),
        (bytes.fromhex("608063b4926e2514"), Abi.BYTES32),
        (bytes.fromhex("608063f744b08914"), Abi.LEGACY),
    ],
)
def test_the_dialect_is_told_by_the_code(code: bytes, abi: Abi | None) -> None:
    """The PUSH4 of the add's selector tells the dialect; a group without code has none."""
    assert abi_of_code(code) is abi


def test_a_replaced_contract_is_refused() -> None:
    """Code without a known add is another contract, and the message says so."""
    with pytest.raises(ManagementContractError, match="upgradeTo"):
        abi_of_code(bytes.fromhex("6080604052"))


def test_a_dialect_refuses_keys_it_cannot_say() -> None:
    """EC keys do not fit bytes32, and legacy groups take nothing."""
    with pytest.raises(ManagementContractError, match="EC keys need"):
        encode_add_participants(Abi.BYTES32, [EC_KEY])
    with pytest.raises(ManagementContractError, match=r"1\.5\.2"):
        encode_remove_participant(Abi.LEGACY, KEY)
    with pytest.raises(ManagementContractError, match="at most"):
        encode_add_participants(Abi.BYTES, [KEY] * (MAX_MEMBERS + 1))


def test_flags_and_versions_are_read() -> None:
    """An empty answer means that there is no such group; anything of another shape is refused."""
    assert decode_flag(word(1)) is True
    assert decode_flag(word(0)) is False
    assert decode_flag(b"") is None
    assert decode_version(b"") is None
    assert decode_version(b"\x01" * 32) == "0x" + "01" * 32
    for output in (word(2), b"\x01"):
        with pytest.raises(ManagementContractError):
            decode_flag(output)
    with pytest.raises(ManagementContractError):
        decode_version(b"\x01")


@given(dialects, nacl, st.booleans())
def test_logs_are_read_back(abi: Abi, member: str, success: bool) -> None:
    """Additions, refused additions and removals are read back from their logs in both dialects."""
    added = decode_log(participant_added_log(abi, member, success=success))
    assert isinstance(added, ParticipantAdded)
    assert (added.member, added.success) == (member, success)
    assert decode_log(participant_removed_log(abi, member)) == ParticipantRemoved(member)


def test_logs_of_other_contracts_are_left_alone() -> None:
    """Only logs at the proxy and its implementation, with a topic that is known, are membership logs."""
    log = participant_added_log(Abi.BYTES, KEY, success=True)
    assert decode_log(ContractLog("0x" + "11" * 20, log.topics, log.data)) is None
    assert decode_log(ContractLog(MANAGEMENT_PROXY, (), b"")) is None
    assert decode_log(ContractLog(MANAGEMENT_PROXY, ("0x" + "00" * 32,), b"")) is None
    with pytest.raises(ManagementContractError, match="ParticipantAdded"):
        decode_log(ContractLog(MANAGEMENT_IMPLEMENTATION, log.topics, log.data[:40]))
