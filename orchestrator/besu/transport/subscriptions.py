"""Subscriptions that outlive connections: local ids, re-subscription, gaps and bounded inboxes. Pure.

Besu's subscription ids are good for one connection, and nothing missed while disconnected is delivered later
(docs/besu.md#addresses-and-events). So a reader holds a local id; whenever something may have been missed it gets a
``Gap``.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from orchestrator.besu.codec.answers import read_head, read_log
from orchestrator.besu.codec.json_rpc import Call, Notification
from orchestrator.besu.codec.results import Head, Log
from orchestrator.besu.errors import ProtocolError
from orchestrator.membership.retry import doubled

_EARLY: Final = 256
"""Notifications kept for subscriptions whose answer has not come yet."""


_HASHES_OF_ONE: Final = 64
"""So many hashes of 32 bytes count as one more item that waits."""


class GapReason(StrEnum):
    """Why something may have been missed."""

    STARTED = "started"
    """The subscription is live for the first time; what happened before was never delivered."""
    DISCONNECTED = "disconnected"
    """The connection is gone; nothing is delivered until ``RESUMED``."""
    RESUMED = "resumed"
    """The subscription is live again after a disconnection."""
    OVERFLOW = "overflow"
    """The reader was too slow and what waited for it was dropped."""
    SKIPPED = "skipped"
    """The node left out block numbers."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something may have been missed: read anew what matters, from ``since_block`` on.

    Attributes:
        reason: why.
        since_block: last block of which all was delivered; None when there is none, then the reader's own checkpoint
            counts.
    """

    reason: GapReason
    since_block: int | None = None


Item = Head | Log | Gap


@dataclass(frozen=True, slots=True)
class Topic:
    """What a subscription is about.

    Attributes:
        subscribe: the call that subscribes.
        privacy_group_id: group of a private subscription, else None.
    """

    subscribe: Call
    privacy_group_id: str | None = None

    def unsubscribe(self, server_id: str) -> Call:
        """Return the call that ends it on the server."""
        if self.privacy_group_id is not None:
            return Call("priv_unsubscribe", (self.privacy_group_id, server_id))
        return Call("eth_unsubscribe", (server_id,))


def heads() -> Topic:
    """Every new head."""
    return Topic(Call("eth_subscribe", ("newHeads",)))


def private_logs(privacy_group_id: str, addresses: Sequence[str] = (), topics: Sequence[Any] = ()) -> Topic:
    """Logs of contracts in a privacy group."""
    call = Call("priv_subscribe", (privacy_group_id, "logs", _filter(addresses, topics)))
    return Topic(call, privacy_group_id)


def reconnect_delay_seconds(failures: int, *, first: float, longest: float, spread: float) -> float:
    """Return how long to wait after ``failures`` (≥ 1) failed connections: doubling from ``first``, up to ``longest``.

    ``spread`` is a random number from 0 to 1 that takes off up to half, lest all clients come back at once.
    """
    return doubled(first, failures - 1, longest) * (1 - spread / 2)


@dataclass(slots=True)
class Allowance:
    """How many bytes may be read from one connection: ``per_second`` on average, at most ``at_once`` ahead of it."""

    per_second: float
    at_once: float
    _spent: float = 0.0
    _at: float | None = None

    def spend(self, size: int, now: float) -> float:
        """Count what was read; return for how many seconds nothing more is to be read (0 for at once)."""
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._spent, self._at = max(0.0, self._spent - passed * self.per_second) + size, now
        return max(0.0, self._spent - self.at_once) / self.per_second


@dataclass(slots=True)
class Inbox:
    """Items that wait for one reader, at most ``limit``; when full they give way to one ``Gap``.

    A large item counts as several: a megabyte of each would be a gigabyte.
    """

    limit: int
    _items: deque[Item] = field(default_factory=deque)
    _weight: int = 0
    _complete_to: int | None = None

    def put(self, item: Item) -> None:
        """Add an item; when the inbox is full what waits is dropped and a gap takes its place."""
        if self._weight >= self.limit:
            self._items.clear()
            self._items.append(Gap(GapReason.OVERFLOW, self._complete_to))
            self._weight = 1
        self._items.append(item)
        self._weight += _weight(item)

    def take(self) -> Item | None:
        """Return the oldest item, or None."""
        if not self._items:
            return None
        item = self._items.popleft()
        self._weight -= _weight(item)
        if not isinstance(item, Gap):
            self._complete_to = _complete_to(item)
        return item

    def __len__(self) -> int:
        return len(self._items)


@dataclass(slots=True)
class _Subscription:
    topic: Topic
    server_id: str | None = None
    was_live: bool = False
    complete_to: int | None = None
    in_sequence: bool = False


class Subscriptions:
    """Which local subscription is which on the server, through any number of connections.

    Methods return what is to be delivered, as (local id, item) pairs; who calls them does the I/O.
    """

    def __init__(self) -> None:
        self._wanted: dict[int, _Subscription] = {}
        self._local_of: dict[str, int] = {}
        self._early: deque[Notification] = deque(maxlen=_EARLY)
        self._next_id = 1

    def add(self, topic: Topic) -> int:
        """Want a topic; return its local id."""
        local_id, self._next_id = self._next_id, self._next_id + 1
        self._wanted[local_id] = _Subscription(topic)
        return local_id

    def remove(self, local_id: int) -> Call | None:
        """Want a topic no more; return the call that ends it on the server, if it is live there."""
        subscription = self._wanted.pop(local_id, None)
        if subscription is None or subscription.server_id is None:
            return None
        self._local_of.pop(subscription.server_id, None)
        return subscription.topic.unsubscribe(subscription.server_id)

    def to_subscribe(self) -> list[tuple[int, Topic]]:
        """Return what is wanted and not live: after connecting, everything."""
        return [
            (local_id, subscription.topic)
            for local_id, subscription in self._wanted.items()
            if subscription.server_id is None
        ]

    def subscribed(self, local_id: int, server_id: str) -> list[tuple[int, Item]]:
        """Note that the server answered with its id; return the gap, and what the server sent before its answer."""
        subscription = self._wanted.get(local_id)
        if subscription is None:
            return []
        subscription.server_id = server_id
        self._local_of[server_id] = local_id
        reason = GapReason.RESUMED if subscription.was_live else GapReason.STARTED
        subscription.was_live = True
        items: list[tuple[int, Item]] = [(local_id, Gap(reason, subscription.complete_to))]
        early = [notification for notification in self._early if notification.subscription == server_id]
        for notification in early:
            self._early.remove(notification)
            items += self.notified(notification)
        return items

    def notified(self, notification: Notification) -> list[tuple[int, Item]]:
        """Return what a notification delivers, and to whom.

        Raises:
            ProtocolError: what was notified is neither a head nor a log.
        """
        local_id = self._local_of.get(notification.subscription)
        if local_id is None:
            if any(subscription.server_id is None for subscription in self._wanted.values()):
                self._early.append(notification)
            return []
        item = _item(notification.result)
        subscription = self._wanted[local_id]
        items: list[tuple[int, Item]] = []
        last = subscription.complete_to
        if isinstance(item, Head) and subscription.in_sequence and last is not None and item.number > last + 1:
            items.append((local_id, Gap(GapReason.SKIPPED, last)))
        subscription.in_sequence = True
        subscription.complete_to = _complete_to(item)
        return [*items, (local_id, item)]

    def disconnected(self) -> list[tuple[int, Item]]:
        """Note that the connection is gone; return a gap for each subscription that was live."""
        items: list[tuple[int, Item]] = []
        for local_id, subscription in self._wanted.items():
            if subscription.server_id is not None:
                subscription.server_id = None
                subscription.in_sequence = False
                items.append((local_id, Gap(GapReason.DISCONNECTED, subscription.complete_to)))
        self._local_of.clear()
        self._early.clear()
        return items

    def is_live(self, local_id: int) -> bool:
        """Whether the server delivers this subscription now."""
        subscription = self._wanted.get(local_id)
        return subscription is not None and subscription.server_id is not None


def _item(result: Any) -> Head | Log:
    if isinstance(result, dict) and "topics" in result:
        return read_log(result)
    if isinstance(result, dict) and "parentHash" in result:
        return read_head(result)
    raise ProtocolError("a subscription delivered something that is neither a head nor a log")


def _weight(item: Item) -> int:
    match item:
        case Head(transaction_hashes=tuple() as hashes):
            return 1 + len(hashes) // _HASHES_OF_ONE
        case Log():
            return 1 + (len(item.data) + 32 * len(item.topics)) // (32 * _HASHES_OF_ONE)
        case _:
            return 1


def _complete_to(item: Head | Log) -> int:
    # More logs of the same block may follow a log.
    return item.number if isinstance(item, Head) else max(item.block_number - 1, 0)


def _filter(addresses: Sequence[str], topics: Sequence[Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if addresses:
        wanted["address"] = list(addresses)
    if topics:
        wanted["topics"] = list(topics)
    return wanted
