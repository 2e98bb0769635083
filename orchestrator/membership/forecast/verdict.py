"""What a forecast says of an addition: what would go wrong, for whom and when, and what can't be seen."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.membership.forecast.senders import SenderStanding
from orchestrator.membership.model import ExpectedReplay, Vouched
from orchestrator.membership.reasons.table import Reason


class Scope(StrEnum):
    """What has to be another for the addition to be safe."""

    SENDER = "sender"
    """Another member's node has to send it."""
    MEMBER = "member"
    """This member can't be added; others can."""
    MOMENT = "moment"
    """It can be done later."""
    GROUP = "group"
    """Nothing can be added to the group as its members stand."""


class Outlook(StrEnum):
    """A forecast in a word."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    UNKNOWN = "unknown"
    """Nothing that was seen goes wrong, and not everything could be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Danger:
    """Something that makes the addition unsafe.

    Attributes:
        scope: For whom, or when.
        reason: Why, in the words of the one table of reasons, which says what to do; with the members that it is about.
        block_number: The block that shows it; None when it is no block's doing.
        transactions: Public transactions that it comes from.
    """

    scope: Scope
    reason: Reason
    block_number: int | None = None
    transactions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """Something that may go wrong and that nothing can settle: it is named, and refuses nothing.

    Attributes:
        block_number: The block.
        transactions: Public transactions that can change what a private contract behind them in the block reads.
    """

    block_number: int
    transactions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Something that could not be looked at.

    Attributes:
        enclave_key: The member that it is about; None when it is about none alone.
        node: Its node's name; None when we have no access to it.
        detail: What, for a person.
    """

    enclave_key: str | None
    node: str | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is to be expected of an addition to a group.

    Attributes:
        privacy_group_id: The group.
        block_number: The block through which everything was looked at.
        block_hash: Its hash: on another branch of the chain nothing of this holds.
        last_block: The newest block with a transaction of the group; 0 when none was read.
        sender: The node that should send, and what its bundle is; None when none may.
        dangers: What goes wrong; none when the addition is safe as far as can be seen.
        risks: What may go wrong and can't be settled, newest block first, a bounded number.
        unseen: What could not be looked at.
        replays: What each new member's node has to replay.
        vouched: New members whose nodes others looked at.
    """

    privacy_group_id: str
    block_number: int
    block_hash: str
    last_block: int = 0
    sender: SenderStanding | None
    dangers: tuple[Danger, ...] = ()
    risks: tuple[Risk, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    replays: tuple[ExpectedReplay, ...] = ()
    vouched: tuple[Vouched, ...] = ()

    @property
    def outlook(self) -> Outlook:
        """The forecast in a word."""
        if self.dangers:
            return Outlook.UNSAFE
        return Outlook.UNKNOWN if self.unseen else Outlook.SAFE

    @property
    def reason(self) -> Reason | None:
        """Why the addition must not be sent; None when nothing is known that speaks against it.

        A danger to the group or by the sender comes before one to a member, which others of the batch don't share.
        """
        return _gravest(self.dangers)

    def reason_for(self, members: frozenset[str]) -> Reason | None:
        """Return why an addition of some of the members must not be sent; None when nothing speaks against it.

        Args:
            members: Enclave keys, of those that the forecast was asked for.
        """
        shared = (Scope.GROUP, Scope.SENDER)
        concerned = [
            danger
            for danger in self.dangers
            if danger.scope in shared or not danger.reason.members or not members.isdisjoint(danger.reason.members)
        ]
        return _gravest(concerned)


def _gravest(dangers: Iterable[Danger]) -> Reason | None:
    first = min(dangers, key=lambda danger: _GRAVITY.index(danger.scope), default=None)
    return None if first is None else first.reason


_GRAVITY = (Scope.GROUP, Scope.SENDER, Scope.MEMBER, Scope.MOMENT)
