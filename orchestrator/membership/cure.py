"""Curing a group that a stale bundle split: may these members be removed and added again, and why does it help? Pure.

A node that fell back executed the stale addition in a block in which all others refused it. So its newest transaction
of the group is in no history of theirs, and a bundle from one of them is replayed as a whole, as on a node that never
had the group (docs/besu.md#stale-bundles, the cures). Where it executed something after that which the others executed
too, a replay would begin there, from a state that the group never had, and halt the node.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.reasons.table import Reason

SLUG: Final = "cure_does_not_fit"
MOST_BLOCKS: Final = 2_000
"""So many blocks after the stale addition a node is looked at; what lies further back can't be cured this way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What a node says of a stale addition.

    Attributes:
        node: Its name.
        enclave_keys: The keys that it hosts.
        executed: Whether the addition executed there; None when the node has no private receipt.
        block_number: The marker's block; None when the node knows of none.
        participants: The group's members as the node has them; none when it lacks the group.
        new: Whether the addition brought one of its keys into the group.
    """

    node: str
    enclave_keys: tuple[str, ...]
    executed: bool | None
    block_number: int | None
    participants: tuple[str, ...] = ()
    new: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        """Its keys that are members by its own state."""
        return tuple(key for key in self.enclave_keys if key in self.participants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A stale addition and where it was executed.

    Attributes:
        pmt_hash: Its marker.
        block_number: The block that executed it.
        well: Enclave keys of the members whose nodes refused it: they show what the group is.
    """

    pmt_hash: str
    block_number: int
    well: frozenset[str]


def split_of(
    pmt_hash: str, members: Sequence[str], witnesses: Collection[Witness], unseen: Mapping[str, str]
) -> Split | Reason:
    """Return the split that a cure is about, or why it is none that these members' return would mend.

    Args:
        pmt_hash: The marker that is said to have brought a stale bundle.
        members: The members that are said to have fallen back.
        witnesses: What the nodes say that answer.
        unseen: By node's name why one does not.
    """
    executed = [one for one in witnesses if one.executed and one.block_number is not None and one.participants]
    well = [one for one in witnesses if one.executed is False and one.members]
    fallen = {key for one in executed for key in one.enclave_keys}
    strange = tuple(key for key in members if key not in fallen)
    if (strange or not well) and unseen:
        return Reason(slug="node_unreachable", detail="; ".join(f"{name}: {why}" for name, why in unseen.items()))
    if strange:
        detail = f"no node of ours executed {pmt_hash} for {', '.join(strange)}: nothing shows that they fell back"
        return Reason(slug=SLUG, detail=detail, members=strange)
    old = [one.node for one in executed if not one.new]
    if len(old) > 1:
        # Only its sender and its new members have an addition's bundle (docs/besu.md#stale-bundles).
        detail = f"{', '.join(old)} executed {pmt_hash} and are not new by it: no stale bundle, who refused it differs"
        return Reason(slug=SLUG, detail=detail, members=tuple(members))
    unnamed = tuple(one.enclave_keys[0] for one in executed if set(one.enclave_keys).isdisjoint(members))
    if unnamed:
        detail = f"{', '.join(unnamed)} executed {pmt_hash} as well: all that fell back come back in one addition"
        return Reason(slug=SLUG, detail=detail, members=unnamed)
    if not well:
        return Reason(
            slug=SLUG, detail=f"no member's node of ours refused {pmt_hash}: nobody shows what the group should be"
        )
    return Split(
        pmt_hash=pmt_hash,
        block_number=max(one.block_number or 0 for one in executed),
        well=frozenset(key for one in well for key in one.members),
    )


def own_way_trouble(
    history: GroupHistory, block_number: int, roots: Mapping[int, str], executed: Collection[int]
) -> str | None:
    """Return why a node that fell back would not replay a bundle as a whole, for a person; None when it would.

    Args:
        history: The group's blocks, as a member has them that did not fall back.
        block_number: The block in which the node executed the stale addition and the others refused it.
        roots: The node's roots of the group from the block before that to its head; empty text where it has none.
        executed: Of the blocks in which the root changed those that hold something which the node says it executed.
    """
    before = roots.get(block_number - 1)
    if before and all(block.state_root != before for block in history.blocks):
        # What it fell back to the others went through; who lost that itself refuses an honest addition.
        return f"before block {block_number} it had a state that those who refused the addition never had"
    shared = {block.number for block in history.blocks}
    changed = [number for number in range(block_number, max(roots) + 1) if roots.get(number) != roots.get(number - 1)]
    if block_number not in changed:
        return f"it shows the same state of the group before and after block {block_number}"
    both = next((number for number in changed if number in shared), None)
    if both is not None:
        return f"it executed something in block {both}, as others did: a replay would begin there, and halt it"
    unexplained = next((number for number in changed if number not in executed), None)
    if unexplained is not None:
        return f"its state of the group changes in block {unexplained}, in which it executed nothing"
    return None
