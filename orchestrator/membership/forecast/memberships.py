"""From a node's logs of additions and removals to what it replayed, and when."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from orchestrator.membership.forecast.histories import Replay


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipLog:
    """A key came into a group or left it.

    Attributes:
        privacy_group_id: The group.
        block_number: The block.
        block_hash: Its hash.
        member: The enclave key.
        added: Whether it came in.
    """

    privacy_group_id: str
    block_number: int
    block_hash: str
    member: str
    added: bool


def replays_of(keys: Collection[str], held: Iterable[str], logs: Iterable[MembershipLog]) -> tuple[Replay, ...]:
    """Return what a node replayed, without saying which blocks.

    Who was there when a group was made executed it at first hand. A group that a node holds without ever having been a
    member of it was brought by an addition that failed or came too late (docs/besu.md#stale-bundles): that was
    replayed as well, nobody knows when.

    Args:
        keys: The enclave keys that the node hosts.
        held: The groups that the node lists, whoever is a member of them.
        logs: Additions and removals in these groups, in the order of the chain.
    """
    by_group: dict[str, list[MembershipLog]] = {group: [] for group in held}
    for log in logs:
        by_group.setdefault(log.privacy_group_id, []).append(log)
    return tuple(replay for group, of_group in by_group.items() for replay in _replays(group, keys, of_group))


def _replays(group: str, keys: Collection[str], logs: list[MembershipLog]) -> list[Replay]:
    # Who came in with the creation executed everything itself: nothing was replayed.
    first = min((log.block_number for log in logs if log.added), default=0)
    present: set[str] = set()
    ever = False
    found = []
    for log in logs:
        if log.member not in keys:
            continue
        # A second key of the same node brings no replay: the node has the group through the first
        # (docs/besu.md#what-a-replay-needs, 8).
        if log.added and not present and log.block_number > first:
            found.append(Replay(privacy_group_id=group, at_block=log.block_number, blocks=None))
        ever = ever or log.added
        if log.added:
            present.add(log.member)
        else:
            present.discard(log.member)
    return found if ever else [Replay(privacy_group_id=group, at_block=None, blocks=None)]


def left_at(member: str, logs: Iterable[MembershipLog]) -> int | None:
    """Return the block of a member's last removal; None when there is none.

    Args:
        member: The enclave key.
        logs: Additions and removals in one group.
    """
    return max((log.block_number for log in logs if log.member == member and not log.added), default=None)
