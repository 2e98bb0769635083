"""Groups that can't be extended any more: what a block does to them, and what is told of it. Pure.

A block that can't be replayed closes every group that has an executed transaction in it to nodes that would have to
replay it (docs/besu.md#what-a-replay-needs, 9); nothing heals that, so that it is told as soon as it is seen.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from orchestrator.membership.forecast.blocks import ChainBlock, Examination, Flaw, flaws_in_words
from orchestrator.membership.model import GroupView
from orchestrator.membership.news.status import EventType, StatusEvent, reason_data
from orchestrator.membership.reasons.table import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Unextendable:
    """A group and the first block seen that can't be replayed.

    Attributes:
        privacy_group_id: The group.
        examination: The block, and why.
    """

    privacy_group_id: str
    examination: Examination


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """An addition's marker whose bytes stood in an earlier block: whoever sent it can undo the past of a group.

    Attributes:
        block_number: The block of the repetition.
        transaction_hash: The repetition.
        sender: The account that signed it.
        first_block: The block in which the bytes were seen first.
        first_transaction: The transaction there.
    """

    block_number: int
    transaction_hash: str
    sender: str
    first_block: int
    first_transaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchTally:
    """What the watched blocks of the network were, all together.

    Attributes:
        blocks: How many were read.
        account_twice: How many of them have an account twice.
        newest_twice: The newest such block; None for none.
        account: The account that was in it twice; empty for none.
        repeated: How many additions' markers were repeated.
        newest_repeated: The newest transaction that repeats one; empty for none.
    """

    blocks: int = 0
    account_twice: int = 0
    newest_twice: int | None = None
    account: str = ""
    repeated: int = 0
    newest_repeated: str = ""

    def with_block(self, examination: Examination) -> "WatchTally":
        """Return the tally with one more block."""
        twice = next((flaw for flaw in examination.flaws if flaw.flaw is Flaw.ACCOUNT_TWICE), None)
        if twice is None:
            return replace(self, blocks=self.blocks + 1)
        return replace(
            self,
            blocks=self.blocks + 1,
            account_twice=self.account_twice + 1,
            newest_twice=examination.number,
            account=twice.account,
        )

    def with_repetitions(self, found: Collection[Repetition]) -> "WatchTally":
        """Return the tally with repeated additions."""
        newest = max(found, key=lambda repetition: repetition.block_number, default=None)
        if newest is None:
            return self
        return replace(self, repeated=self.repeated + len(found), newest_repeated=newest.transaction_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAddition:
    """The marker of an addition to a group that had existed before.

    Attributes:
        addition: Its 64 bytes, in hexadecimal.
        transaction_hash: The transaction.
        sender: The account that signed it.
        block_number: Its block.
    """

    addition: str
    transaction_hash: str
    sender: str
    block_number: int


def additions_in(block: ChainBlock) -> tuple[SeenAddition, ...]:
    """Return the additions to groups with a history that a block carries."""
    return tuple(
        SeenAddition(
            addition=item.addition,
            transaction_hash=item.transaction_hash,
            sender=item.sender,
            block_number=block.number,
        )
        for item in block.transactions
        if item.addition
    )


def repetitions(seen: Iterable[SeenAddition], earlier: Mapping[str, SeenAddition]) -> tuple[Repetition, ...]:
    """Return which additions repeat one of an earlier block.

    Two markers of one addition in the same block do no harm (docs/besu.md#stale-bundles, 2).

    Args:
        seen: Additions, in the order of the chain.
        earlier: By their bytes, what was seen first.
    """
    known = dict(earlier)
    found = []
    for one in seen:
        first = known.setdefault(one.addition, one)
        if first.block_number < one.block_number:
            found.append(
                Repetition(
                    block_number=one.block_number,
                    transaction_hash=one.transaction_hash,
                    sender=one.sender,
                    first_block=first.block_number,
                    first_transaction=first.transaction_hash,
                )
            )
    return tuple(found)


def closes_groups(block: ChainBlock, examination: Examination) -> bool:
    """Return whether a block closes the groups that have an executed transaction in it, if any has one."""
    # Most blocks with an account twice carry no marker at all, and which group a marker is of costs calls to find out.
    return bool(examination.flaws) and any(item.marker for item in block.transactions)


def changed_in(views: Iterable[tuple[GroupView, GroupView]]) -> bool | None:
    """Return whether a group has an executed transaction in a block; None when no node shows the group there.

    A block that a node executed answers for itself, so that a damaged node errs at other blocks only; most decide.

    Args:
        views: From each node the group before the block and after it.
    """
    votes = Counter(after.state_root != before.state_root for before, after in views if after.exists)
    # A draw counts as changed: a group that is told to be closed can be looked at, one that is not told halts a node.
    return votes[True] >= votes[False] if votes else None


def unextendable_event(found: Unextendable) -> StatusEvent:
    """Return what subscribers are told of a group that can't be extended any more."""
    examination = found.examination
    reason = Reason(slug="block_not_replayable", detail=flaws_in_words(examination))
    return StatusEvent(
        type=EventType.GROUP_UNEXTENDABLE,
        privacy_group_id=found.privacy_group_id,
        data={
            "block_number": examination.number,
            "block_hash": examination.block_hash,
            "flaws": [
                {"flaw": flaw.flaw.value, "account": flaw.account, "transactions": list(flaw.transactions)}
                for flaw in examination.flaws
            ],
            "reason": reason_data(reason),
        },
    )
