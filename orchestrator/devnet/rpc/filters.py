"""Filters that clients poll: what they match, and what they have seen. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.devnet.private.node_logs import NodeLog

MAX_FILTERS: Final = 1_000
MAX_BUFFERED: Final = 10_000
_MAX_ALTERNATIVES: Final = 256


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which logs a client wants.

    Attributes:
        addresses: lower case; none for all.
        topics: by position; None for any.
    """

    addresses: frozenset[str] = frozenset()
    topics: tuple[frozenset[str] | None, ...] = ()


def read_log_query(given: Mapping[str, Any]) -> LogQuery | None:
    """Read ``address`` and ``topics`` of a filter object; None when they cannot be read."""
    addresses = _alternatives(given.get("address"), digits=40)
    if addresses is None:
        return None
    topics: list[frozenset[str] | None] = []
    listed = given.get("topics") or []
    if not isinstance(listed, list) or len(listed) > 4:
        return None
    for item in listed:
        alternatives = _alternatives(item, digits=64)
        if alternatives is None:
            return None
        topics.append(alternatives or None)
    return LogQuery(addresses, tuple(topics))


def _alternatives(value: Any, *, digits: int) -> frozenset[str] | None:
    items = [] if value is None else value if isinstance(value, list) else [value]
    if len(items) > _MAX_ALTERNATIVES:
        return None
    found = set()
    for item in items:
        if item is None:
            continue
        if not isinstance(item, str) or len(item) != digits + 2 or item[:2] != "0x":
            return None
        found.add(item.lower())
    return frozenset(found)


@dataclass(slots=True)
class LogFilter:
    """An installed filter of a group's logs, with those that arrived since it was last asked."""

    privacy_group_id: bytes
    query: LogQuery
    from_block: Any
    to_block: Any
    arrived: list[NodeLog] = field(default_factory=list)


class FilterStore:
    """The filters of one node."""

    def __init__(self) -> None:
        self._filters: dict[str, LogFilter | list[str]] = {}
        self._installed = 0

    def install(self, installed: LogFilter | list[str]) -> str:
        """Keep a filter (a list: one of block hashes) and return its number; the oldest goes when it is too many."""
        self._installed += 1
        number = hex(self._installed)
        self._filters[number] = installed
        if len(self._filters) > MAX_FILTERS:
            del self._filters[next(iter(self._filters))]
        return number

    def get(self, number: str) -> LogFilter | list[str] | None:
        """A filter."""
        return self._filters.get(number)

    def uninstall(self, number: str) -> bool:
        """Forget a filter; False when there is none."""
        return self._filters.pop(number, None) is not None

    def arrived(self, block_hash: str, logs: list[NodeLog]) -> None:
        """Note an imported block and its private logs."""
        for installed in self._filters.values():
            if isinstance(installed, list):
                installed.append(block_hash)
                del installed[:-MAX_BUFFERED]
            else:
                installed.arrived.extend(log for log in logs if log.privacy_group_id == installed.privacy_group_id)
                del installed.arrived[:-MAX_BUFFERED]
