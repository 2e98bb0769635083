"""The management contract's rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_IMPLEMENTATION,
    MANAGEMENT_PROXY,
    Abi,
    Method,
    abi_of_code,
    decode_participants,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.devnet.accounts import enclave_key_of
from orchestrator.devnet.private.contract import (
    BlockContext,
    CallOutcome,
    ContractState,
    call_contract,
    contract_code,
    revert_reason,
)

OWNER, OTHER = "0x" + "aa" * 20, "0x" + "bb" * 20
BLOCK = BlockContext(number=7, parent_hash=bytes(32), coinbase="0x" + "cc" * 20)
KEYS = tuple(enclave_key_of(node) for node in range(1, 8))
NOT_OWNER = revert_reason("Origin not the owner.")


LATER = BlockContext(number=9, parent_hash=b"\x09" * 32, coinbase=BLOCK.coinbase)


def call(
    state: ContractState,
    call_data: bytes,
    origin: str = OWNER,
    to: str = MANAGEMENT_PROXY,
    block: BlockContext = BLOCK,
) -> CallOutcome:
    return call_contract(state, to=to, origin=origin, call_data=call_data, block=block)


def group(*keys: str, abi: Abi = Abi.BYTES) -> ContractState:
    return call(ContractState(abi=abi), encode_add_participants(abi, keys or KEYS[:2])).state


LOCK, UNLOCK = encode_call(Method.LOCK), encode_call(Method.UNLOCK)
ADD = encode_add_participants(Abi.BYTES, KEYS[2:3])
REMOVE = encode_remove_participant(Abi.BYTES, KEYS[1])
CAN_UPGRADE = encode_call(Method.CAN_UPGRADE)


def test_the_first_add_makes_the_owner_and_unlocks() -> None:
    """A new group belongs to the account that creates it, and is unlocked with a version."""
    state = group()

    assert state.owner == OWNER
    assert state.can_execute
    assert state.version != bytes(32)
    assert state.participants == KEYS[:2]


@pytest.mark.parametrize(
    ("call_data", "when_unlocked", "when_locked"),
    [(LOCK, True, False), (UNLOCK, False, True), (ADD, False, True), (REMOVE, True, False)],
)
def test_the_lock_decides_first(call_data: bytes, when_unlocked: bool, when_locked: bool) -> None:
    """In the wrong lock state a call reverts without a reason, whoever calls; in the right one only for strangers."""
    unlocked = group()
    locked = call(unlocked, LOCK).state
    for state, allowed in ((unlocked, when_unlocked), (locked, when_locked)):
        by_owner, by_other = call(state, call_data), call(state, call_data, origin=OTHER)
        assert by_owner.reverted is not allowed
        assert by_other.reverted
        assert by_other.output == (NOT_OWNER if allowed else b"")
        assert by_other.state is state


def test_can_upgrade_tells_the_owner_in_any_lock_state() -> None:
    """The owner check works whether the group is locked or not."""
    unlocked = group()
    for state in (unlocked, call(unlocked, LOCK).state):
        assert call(state, CAN_UPGRADE).output == (1).to_bytes(32)
        assert call(state, CAN_UPGRADE, origin=OTHER).output == bytes(32)


def test_adding_a_present_member_says_so_and_still_unlocks() -> None:
    """Output 0, one event of success false, a new version, and the lock is gone."""
    locked = call(group(), LOCK).state

    outcome = call(locked, encode_add_participants(Abi.BYTES, [KEYS[1], KEYS[3]]))

    assert outcome.output == bytes(32)
    assert [log.data[31] for log in outcome.logs] == [0, 1]
    assert outcome.state.participants == (KEYS[0], KEYS[1], KEYS[3])
    assert outcome.state.can_execute
    assert outcome.state.version != locked.version


def test_an_empty_add_only_unlocks() -> None:
    """The way back on versions whose unlock fails."""
    outcome = call(call(group(), LOCK).state, encode_add_participants(Abi.BYTES, ()))

    assert outcome.output == (1).to_bytes(32)
    assert outcome.state.can_execute
    assert outcome.state.participants == KEYS[:2]
    assert not outcome.logs


def test_the_last_member_moves_into_the_gap() -> None:
    """The order after a removal is that of the recorded networks."""
    outcome = call(group(*KEYS[:4]), encode_remove_participant(Abi.BYTES, KEYS[0]))

    assert outcome.state.participants == (KEYS[3], KEYS[1], KEYS[2])
    assert outcome.logs[0].address == MANAGEMENT_PROXY


def test_removing_a_stranger_changes_the_version_only() -> None:
    """Output 0, no event, and yet a new version."""
    state = group()

    outcome = call(state, encode_remove_participant(Abi.BYTES, KEYS[5]), block=LATER)

    assert outcome.output == bytes(32)
    assert not outcome.logs
    assert outcome.state.participants == state.participants
    assert outcome.state.version != state.version


def test_the_implementation_can_be_called_itself_and_writes_no_removal() -> None:
    """The removal's event is the proxy's."""
    outcome = call(group(), REMOVE, to=MANAGEMENT_IMPLEMENTATION)

    assert outcome.state.participants == KEYS[:1]
    assert not outcome.logs


@pytest.mark.parametrize("call_data", [b"", b"\x12\x34\x56\x78", ADD[:40], ADD[:4] + b"\xff" * 64, b"\x01"])
def test_what_it_cannot_read_reverts(call_data: bytes) -> None:
    """Unknown selectors and broken arguments revert without a reason."""
    outcome = call(call(group(), LOCK).state, call_data)

    assert outcome.reverted
    assert outcome.output == b""


def test_a_group_understands_its_own_dialect_only() -> None:
    """An add in the other dialect reverts: there is no upgrade path."""
    locked = call(group(abi=Abi.BYTES32), LOCK).state

    assert call(locked, ADD).reverted
    assert not call(locked, encode_add_participants(Abi.BYTES32, KEYS[2:3])).reverted


@pytest.mark.parametrize("abi", [Abi.BYTES32, Abi.BYTES])
def test_the_code_carries_the_selectors(abi: Abi) -> None:
    """The dialect can be read off the code."""
    assert abi_of_code(contract_code(abi)) is abi


@pytest.mark.parametrize(
    ("origin", "locked", "target", "message"),
    [
        (OWNER, True, "00" * 31 + "99", "The contract is locked."),
        (OTHER, False, "00" * 31 + "99", "Not allowed to upgrade the management contract."),
        (
            OWNER,
            False,
            "00" * 31 + "7b",
            "The contract to upgrade to has to be different from the current management contract.",
        ),
    ],
)
def test_upgrading_is_refused_with_a_reason(origin: str, locked: bool, target: str, message: str) -> None:
    """``upgradeTo`` checks the lock, the target and the owner."""
    state = call(group(), LOCK).state if locked else group()

    outcome = call(state, bytes.fromhex("3659cfe6" + target), origin=origin)

    assert outcome.output == revert_reason(message)


CALLS = st.one_of(
    st.just(LOCK),
    st.just(UNLOCK),
    st.lists(st.sampled_from(KEYS), max_size=4).map(lambda keys: encode_add_participants(Abi.BYTES, keys)),
    st.sampled_from(KEYS).map(lambda key: encode_remove_participant(Abi.BYTES, key)),
    st.binary(max_size=80),
)


@given(st.lists(st.tuples(CALLS, st.sampled_from((OWNER, OTHER))), max_size=30))
def test_whatever_is_called_the_rules_hold(calls: list[tuple[bytes, str]]) -> None:
    """Members are distinct, strangers change nothing, a revert changes nothing, and equal states have equal digests."""
    state = group()
    for call_data, origin in calls:
        outcome = call(state, call_data, origin=origin)
        if outcome.reverted or origin == OTHER:
            assert outcome.state.digest == state.digest
        assert len(set(outcome.state.participants)) == len(outcome.state.participants)
        assert (outcome.state.digest == state.digest) == (outcome.state == state)
        listed = call(outcome.state, encode_call(Method.GET_PARTICIPANTS)).output
        assert decode_participants(listed) == outcome.state.participants
        state = outcome.state
