"""Members whose nodes fell back because an addition's marker was mined again, and what cures it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.membership.damage.unextendable import Repetition, SeenAddition
from orchestrator.membership.news.status import EventType, Json, StatusEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class FallenMember:
    """A member's node that shows another state of a group since the block of a repeated marker.

    Attributes:
        node: Its name.
        enclave_key: The member.
        state_root: What it shows after the block.
        fell_back: Whether it shows, for the block before, what the group was under the lock of back then.
    """

    node: str
    enclave_key: str
    state_root: str
    fell_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FallenBack:
    """A group that was split by a repeated marker.

    Attributes:
        privacy_group_id: The group.
        members: Those that fell back.
        other_root: What the others show after the block; empty when nobody else can be seen.
        through: A node through which to remove and add them: a member's that did not fall back; None when none is seen.
    """

    privacy_group_id: str
    members: tuple[FallenMember, ...]
    other_root: str
    through: str | None


def repetition_events(repetition: Repetition, found: Sequence[FallenBack]) -> tuple[StatusEvent, ...]:
    """Return what subscribers are told of a repeated marker: of each group that it split, or that it split none.

    Args:
        repetition: The marker.
        found: The groups.
    """
    announced: dict[str, Json] = {
        "block_number": repetition.block_number,
        "transaction": repetition.transaction_hash,
        "sender": repetition.sender,
        "first_block": repetition.first_block,
        "first_transaction": repetition.first_transaction,
    }
    return _events(EventType.GROUP_ADDITION_REPEATED, announced, found)


def unexpected_events(
    addition: SeenAddition, found: Sequence[FallenBack], refused_by: Sequence[str], executed_by: Sequence[str]
) -> tuple[StatusEvent, ...]:
    """Return what subscribers are told of an addition that some or all nodes refused: of each group that it parted.

    Args:
        addition: Its marker.
        found: The groups.
        refused_by: Names of the nodes that refused it.
        executed_by: Names of the nodes that executed it.
    """
    announced: dict[str, Json] = {
        "block_number": addition.block_number,
        "transaction": addition.transaction_hash,
        "sender": addition.sender,
        "refused_by": list(refused_by),
        "executed_by": list(executed_by),
    }
    return _events(EventType.GROUP_ADDITION_UNEXPECTED, announced, found)


def misreading_event(addition: SeenAddition, named: str, standing: Sequence[str]) -> StatusEvent:
    """Return what subscribers are told of a marker that names a private transaction as a history.

    Args:
        addition: The marker.
        named: The marker of that transaction.
        standing: Names of the nodes that don't get past the block.
    """
    announced: dict[str, Json] = {
        "block_number": addition.block_number,
        "transaction": addition.transaction_hash,
        "sender": addition.sender,
        "refused_by": [],
        "executed_by": [],
        "names": named,
        "standing": list(standing),
    }
    # No cure goes with it: nobody fell back, and a node that stands is brought past the block by its own operator.
    (event,) = _events(EventType.GROUP_ADDITION_UNEXPECTED, announced, [])
    return event


def _events(kind: EventType, announced: dict[str, Json], found: Sequence[FallenBack]) -> tuple[StatusEvent, ...]:
    # Told without a group, too: that somebody sends copied markers is worth knowing before one hits.
    if not found:
        nothing: dict[str, Json] = {"affected": [], "cure": [], "through": None}
        return (StatusEvent(type=kind, privacy_group_id="", data=announced | nothing),)
    return tuple(
        StatusEvent(
            type=kind,
            privacy_group_id=group.privacy_group_id,
            data=announced
            | {
                "affected": [
                    {
                        "node": member.node,
                        "member": member.enclave_key,
                        "state_root": member.state_root,
                        "other_root": group.other_root,
                        "fell_back": member.fell_back,
                    }
                    for member in group.members
                ],
                # Without a member that did not fall back nobody shows what is right: nothing is offered.
                "cure": [member.enclave_key for member in group.members] if group.through is not None else [],
                "through": group.through,
            },
        )
        for group in found
    )
