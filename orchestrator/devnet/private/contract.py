"""What the group management contract does: state, calls, outcomes. Pure.

Source: docs/besu.md#words, #life-of-a-change, #looking-before-leaping and the recorded simulations, which show the
order of the checks: first the lock, then the owner. The code of the real contract is not used; ``contract_code``
answers bytes of the devnet's own that carry the same selectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from eth_abi.abi import encode
from eth_hash.auto import keccak

from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_IMPLEMENTATION,
    MANAGEMENT_PROXY,
    NOT_OWNER_MESSAGE,
    Abi,
    ContractLog,
    ManagementCall,
    ManagementContractError,
    Method,
    decode_call,
    encode_add_participants,
    encode_call,
    encode_participants,
    encode_remove_participant,
    participant_added_log,
    participant_removed_log,
    selector,
)
from orchestrator.devnet.encoding import data

NO_ADDRESS: Final = "0x" + "00" * 20
NO_VERSION: Final = bytes(32)
MANAGEMENT_ADDRESSES: Final = frozenset({MANAGEMENT_PROXY, MANAGEMENT_IMPLEMENTATION})
_TRUE: Final = (1).to_bytes(32)
_FALSE: Final = bytes(32)
_UPGRADE_TO: Final = selector("upgradeTo(address)")
_SOME_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What the contract sees of the block that it runs in."""

    number: int
    parent_hash: bytes
    coinbase: str


@dataclass(frozen=True, slots=True)
class ContractState:
    """Storage of a group's management contract. A new group's is locked and has no owner.

    Attributes:
        abi: dialect that the group was created with; it keeps it for ever.
        owner: account of the first add, "" before it.
        can_execute: False when the group is locked.
        version: changes with every add and remove.
        participants: enclave keys, base64, in the contract's order.
        digest: of all of the above; two states are equal exactly when their digests are.
    """

    abi: Abi
    owner: str = ""
    can_execute: bool = False
    version: bytes = NO_VERSION
    participants: tuple[str, ...] = ()
    digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = "|".join((self.abi.value, self.owner, str(self.can_execute), *self.participants))
        object.__setattr__(self, "digest", keccak(self.version + text.encode("ascii")))


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What a call did.

    Attributes:
        reverted: nothing was changed.
        output: what was returned; when reverted, the reason as ABI-encoded ``Error(string)``, or nothing.
        state: the storage afterwards.
        logs: in order.
    """

    reverted: bool
    output: bytes
    state: ContractState
    logs: tuple[ContractLog, ...] = ()


def call_contract(state: ContractState, *, to: str, origin: str, call_data: bytes, block: BlockContext) -> CallOutcome:
    """Run a call of the management contract by ``origin``, through the proxy or at the implementation itself.

    Never raises: what the contract cannot read reverts without a reason.
    """
    if call_data[:4] == _UPGRADE_TO and to == MANAGEMENT_PROXY:
        return CallOutcome(reverted=True, output=_upgrade_refusal(state, origin, call_data[4:]), state=state)
    try:
        call = decode_call(call_data)
    except ManagementContractError:
        call = None
    if call is None or call.abi not in {None, state.abi}:
        return CallOutcome(reverted=True, output=b"", state=state)
    view = _view(state, call, origin)
    if view is not None:
        return CallOutcome(reverted=False, output=view, state=state)
    if state.can_execute is not _needs_unlocked(call.method):
        return CallOutcome(reverted=True, output=b"", state=state)
    if origin != state.owner and not (call.method is Method.ADD_PARTICIPANTS and not state.owner):
        return CallOutcome(reverted=True, output=revert_reason(NOT_OWNER_MESSAGE), state=state)
    if call.method is Method.LOCK:
        return CallOutcome(reverted=False, output=b"", state=replace(state, can_execute=False))
    if call.method is Method.UNLOCK:
        return CallOutcome(reverted=False, output=b"", state=replace(state, can_execute=True))
    if call.method is Method.ADD_PARTICIPANTS:
        return _add(state, call.members, origin, block)
    return _remove(state, call.members[0], to, block)


def revert_reason(message: str) -> bytes:
    """Encode ``Error(string)`` as a revert carries it."""
    return selector("Error(string)") + encode(["string"], [message])


def is_addition(abi: Abi, call_data: bytes) -> bool:
    """Tell whether call data begin with the add of a dialect: all that a node looks at (docs/besu.md#versions)."""
    return call_data[:4] == encode_add_participants(abi, ())[:4]


def is_removal(abi: Abi, call_data: bytes) -> bool:
    """Tell whether call data begin with the remove of a dialect."""
    return call_data[:4] == encode_remove_participant(abi, _SOME_KEY)[:4]


def added_keys(call_data: bytes) -> tuple[str, ...]:
    """Enclave keys of an add, in order.

    Raises:
        ManagementContractError: the data cannot be read.
    """
    call = decode_call(call_data)
    return call.members if call is not None else ()


def contract_code(abi: Abi) -> bytes:
    """Return the devnet's own code of a management contract: a PUSH4 and a POP for each selector, then STOP."""
    selectors = [
        encode_add_participants(abi, ())[:4],
        encode_remove_participant(abi, _SOME_KEY)[:4],
        *(encode_call(method) for method in _PLAIN_METHODS),
        _UPGRADE_TO,
    ]
    return b"".join(b"\x63" + chosen + b"\x50" for chosen in selectors) + b"\x00"


_PLAIN_METHODS: Final = (
    Method.LOCK,
    Method.UNLOCK,
    Method.GET_PARTICIPANTS,
    Method.CAN_EXECUTE,
    Method.GET_VERSION,
    Method.CAN_UPGRADE,
)


def _upgrade_refusal(state: ContractState, origin: str, arguments: bytes) -> bytes:
    """Why ``upgradeTo`` fails; no other management contract can be there, so it always does."""
    if len(arguments) < 32:
        return b""
    if not state.can_execute:
        return revert_reason("The contract is locked.")
    if data(arguments[12:32]) == MANAGEMENT_IMPLEMENTATION:
        return revert_reason("The contract to upgrade to has to be different from the current management contract.")
    if origin != state.owner:
        return revert_reason("Not allowed to upgrade the management contract.")
    return b""


def _needs_unlocked(method: Method) -> bool:
    return method in {Method.LOCK, Method.REMOVE_PARTICIPANT}


def _view(state: ContractState, call: ManagementCall, origin: str) -> bytes | None:
    if call.method is Method.GET_PARTICIPANTS:
        return encode_participants(state.abi, state.participants)
    if call.method is Method.CAN_EXECUTE:
        return _TRUE if state.can_execute else _FALSE
    if call.method is Method.GET_VERSION:
        return state.version
    if call.method is Method.CAN_UPGRADE:
        return _TRUE if origin == (state.owner or NO_ADDRESS) else _FALSE
    return None


def _add(state: ContractState, keys: Sequence[str], origin: str, block: BlockContext) -> CallOutcome:
    participants = list(state.participants)
    logs = []
    for key in keys:
        is_new = key not in participants
        if is_new:
            participants.append(key)
        logs.append(participant_added_log(state.abi, key, success=is_new))
    added = len(participants) - len(state.participants)
    changed = _with_new_version(
        replace(state, owner=state.owner or origin, can_execute=True, participants=tuple(participants)), block
    )
    return CallOutcome(reverted=False, output=_TRUE if added == len(keys) else _FALSE, state=changed, logs=tuple(logs))


def _remove(state: ContractState, key: str, to: str, block: BlockContext) -> CallOutcome:
    if key not in state.participants:
        return CallOutcome(reverted=False, output=_FALSE, state=_with_new_version(state, block))
    participants = list(state.participants)
    # The last one moves into the gap, as the recorded orders show.
    participants[participants.index(key)] = participants[-1]
    participants.pop()
    changed = _with_new_version(replace(state, participants=tuple(participants)), block)
    logs = (participant_removed_log(state.abi, key),) if to == MANAGEMENT_PROXY else ()
    return CallOutcome(reverted=False, output=_TRUE, state=changed, logs=logs)


def _with_new_version(state: ContractState, block: BlockContext) -> ContractState:
    seen = block.parent_hash + bytes.fromhex(block.coinbase[2:]) + "|".join(state.participants).encode("ascii")
    return replace(state, version=keccak(seen))
