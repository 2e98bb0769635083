"""History bundles as they come from an enclave, and what somebody here agreed to. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledCall:
    """A transaction of a bundle.

    Attributes:
        pmt_hash: Its marker's hash.
        account: Who signed it, "0x…" in lower case.
        private_nonce: The account's nonce in the group.
        state_root: The group's root after it, as the bundle says.
        signature: r and s.
    """

    pmt_hash: str
    account: str
    private_nonce: int
    state_root: str
    signature: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBundle:
    """A history as it came from the enclave; whoever sent it may have written anything into it.

    Attributes:
        privacy_group_id: The group.
        calls: Its transactions, oldest first; none only when they could not be read.
        sent_by: The enclave key that sent it; empty when it is not told.
        members: The group's members at its end.
        locked: Whether the group is locked at its end; None when its contract was replaced, so that nobody knows.
        trouble: Why it can't be a whole history, for a person; None when it may be.
        gap: Where private nonces are missing, which says the same unless failed transactions use up nonces, too.
    """

    privacy_group_id: str
    calls: tuple[BundledCall, ...]
    sent_by: str
    members: tuple[str, ...]
    locked: bool | None
    trouble: str | None = None
    gap: str | None = None

    @property
    def owner(self) -> str:
        """The account that made the group; empty when nothing could be read."""
        return self.calls[0].account if self.calls else ""

    @property
    def last_root(self) -> str:
        """The group's root at its end."""
        return self.calls[-1].state_root


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An addition that this organisation has agreed to.

    Attributes:
        privacy_group_id: The group.
        owner: Its owner, "0x…" in lower case.
        members: Its members before the addition; None when anybody may be one.
        last_root: The group's root under the lock, as somebody who may be trusted saw it; empty when nobody said.
    """

    privacy_group_id: str
    owner: str
    members: frozenset[str] | None = None
    last_root: str = ""

    def covers(self, bundle: ReceivedBundle) -> bool:
        """Return whether a bundle is what was agreed to."""
        return (
            self.privacy_group_id == bundle.privacy_group_id
            and self.owner == bundle.owner
            and (self.members is None or self.members == frozenset(bundle.members))
            # A history made by hand can name the group, its owner and its members; the root under the lock it can only
            # claim, and a replay that does not get there fails.
            and self.last_root in ("", bundle.last_root)
        )


def history_of(bundle: ReceivedBundle, blocks: Mapping[str, int], head: int) -> GroupHistory:
    """Return a bundle as the rules of the forecast take a history.

    Args:
        bundle: The bundle.
        blocks: By marker's hash the block that holds it.
        head: The newest block that was looked at.
    """
    # A replay compares roots after the last transaction of a block only (docs/besu.md#what-a-replay-needs, 12).
    last: dict[int, str] = {}
    for call in bundle.calls:
        if call.pmt_hash in blocks:
            last[blocks[call.pmt_hash]] = call.state_root
    return GroupHistory(
        privacy_group_id=bundle.privacy_group_id,
        blocks=tuple(GroupBlock(number=n, block_hash="", state_root=root) for n, root in sorted(last.items())),
        through=head,
        through_hash="",
    )


def final_run(blocks: Iterable[int], head: int) -> range:
    """Return the neighbouring blocks of a group that end with a node's head; none when the head holds none of it.

    A replay makes the maps of these blocks anew, and that of the last is the one that the next block starts from
    (docs/besu.md#how-replay-damages-other-groups, 2).

    Args:
        blocks: The group's blocks.
        head: The node's head.
    """
    held_in = set(blocks)
    first = head
    while first in held_in:
        first -= 1
    return range(first + 1, head + 1)
