"""What needs a person, and how the nodes are, from the parts of the daemon that know it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from orchestrator.api.ports.changes import ChangeRecord, Check, Readiness
from orchestrator.api.ports.overview import Attention, NodeStanding
from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError, NodeTraits
from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.membership.model import ENDED, Change, State, Verdict
from orchestrator.membership.news.attention import (
    NodeLook,
    need_of_check,
    need_of_node,
    needs_of_change,
    needs_of_group,
    ranked,
    waits_under_lock,
)
from orchestrator.membership.news.group_news import GroupNews

MOST_CHANGES: Final = 500
"""Parked changes, and changes at work, that are looked at: nobody reads more."""

MOST_LOCKED: Final = 50
"""Changes whose history is read for how long they have held a lock."""

MOST_NEEDS: Final = 200
AGE_SECONDS: Final = 1.0
"""How old an answer may be: many pages that hear of the same event look once."""

MOST_SCOPES: Final = 32
"""Of so many scopes of callers the newest answer is kept."""

NODE_SECONDS: Final = 3.0

_AT_WORK: Final = tuple(state for state in State if state not in ENDED and state is not State.PARKED)


class News(Protocol):
    """What was told of groups; fulfilled by `orchestrator.engine.runtime.news.NewsReader`."""

    async def groups(self) -> Mapping[str, GroupNews]:
        """Return it by group.

        Raises:
            StoreError: The store does not answer.
        """


class Overview:
    """Looks at everything at once.

    Args:
        changes: The changes.
        fleet: The nodes.
        news: What was told of groups.
        readiness: Whether store, queue and nodes work.
        now: Returns the present time.
        notes: What is to be known of a Besu version (major, minor, patch), one sentence each.
    """

    def __init__(
        self,
        changes: ChangeRecord,
        fleet: Fleet,
        news: News,
        readiness: Readiness,
        now: Callable[[], datetime],
        notes: Callable[[tuple[int, int, int]], Sequence[str]],
    ) -> None:
        self._changes = changes
        self._fleet = fleet
        self._news = news
        self._readiness = readiness
        self._now = now
        self._notes = notes
        self._looking = asyncio.Lock()
        self._found: BoundedDict[frozenset[str] | None, Attention] = BoundedDict(MOST_SCOPES)

    async def attention(self, within: frozenset[str] | None = None) -> Attention:
        """Return what needs a person, the most urgent first.

        Args:
            within: Only these groups, and what is of none; None for all. What lies outside takes no place in the list.

        Raises:
            StoreError: The store does not answer.
        """
        async with self._looking:
            found = self._found.get(within)
            # The clock may be set back: an answer from the future is looked at anew, too.
            if found is None or abs((self._now() - found.at).total_seconds()) > AGE_SECONDS:
                found = await self._look(within)
            self._found[within] = found
            return found

    async def _look(self, within: frozenset[str] | None) -> Attention:
        now = self._now()
        parked, at_work, news, checks = await asyncio.gather(
            self._changes.changes(ChangeFilter(states=(State.PARKED,), within=within), limit=MOST_CHANGES),
            self._changes.changes(ChangeFilter(states=_AT_WORK, within=within), limit=MOST_CHANGES),
            self._news.groups(),
            self._readiness.checks(),
        )
        locked = await self._locked_since(at_work)
        needs = [
            need
            for change in (*parked, *at_work)
            for need in needs_of_change(change, now, locked.get(change.change_id))
        ]
        needs += [
            need
            for group, told in news.items()
            if within is None or group in within
            for need in needs_of_group(group, told)
        ]
        needs += [need_of_check(check.name, check.detail) for check in checks if check.required and not check.ok]
        needs += [need for look in self._looks(checks, at_work) if (need := need_of_node(look)) is not None]
        # Ranked before it is cut: what is most urgent may have been found last.
        found = ranked(needs)
        return Attention(at=now, needs=found[:MOST_NEEDS], total=len(found))

    async def _locked_since(self, at_work: Sequence[Change]) -> dict[str, datetime]:
        """Return when the locks were seen of changes that don't get on under them: how long each is held."""
        held = [change.change_id for change in at_work if waits_under_lock(change)][:MOST_LOCKED]
        found = await asyncio.gather(*map(self._changes.whole, held))
        times = {
            whole.change.change_id: [
                entry.at
                for entry in whole.history
                if (entry.from_state, entry.to_state) == (State.LOCKING, State.ADDING)
            ]
            for whole in found
            if whole is not None
        }
        return {change_id: max(at) for change_id, at in times.items() if at}

    def _looks(self, checks: Sequence[Check], at_work: Sequence[Change]) -> list[NodeLook]:
        answering = {check.name: check.ok for check in checks}
        replays = {
            entry.enclave_key: (entry, change.change_id)
            for change in at_work
            for entry in change.progress
            if entry.verdict is Verdict.REPLAYING
        }
        found = [
            NodeLook(
                name=watcher.node.name,
                head=watcher.head.number if watcher.head is not None else None,
                behind=self._behind(watcher),
                # By the name that the readiness gives its check of a node.
                answers=answering.get(f"node {watcher.node.name}", not watcher.silent),
                barred=watcher.node.barred,
            )
            for watcher in self._fleet.watchers
        ]
        keys = [watcher.node.enclave_keys for watcher in self._fleet.watchers]
        of_nodes = [next((replays[key] for key in hosted if key in replays), (None, "")) for hosted in keys]
        return [
            replace(look, replaying=entry, change_id=change_id)
            for look, (entry, change_id) in zip(found, of_nodes, strict=True)
        ]

    def _behind(self, watcher: ChainWatcher) -> int:
        newest = self._fleet.newest_head()
        return newest - watcher.head.number if watcher.head is not None and newest else 0

    async def nodes(self) -> tuple[NodeStanding, ...]:
        """Return how each configured node is; bounded in time."""
        return tuple(await asyncio.gather(*(self._node(watcher) for watcher in self._fleet.watchers)))

    async def _node(self, watcher: ChainWatcher) -> NodeStanding:
        trouble = watcher.node.barred
        milliseconds = None
        traits: NodeTraits | None = None
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(NODE_SECONDS):
                await watcher.refresh()
                milliseconds = (asyncio.get_running_loop().time() - began) * 1000
                traits = await watcher.node.traits()
        except NodeError as error:
            trouble = trouble or str(error)
        except TimeoutError:
            trouble = trouble or f"no answer in {NODE_SECONDS:g} s"
        return NodeStanding(
            name=watcher.node.name,
            enclave_keys=watcher.node.enclave_keys,
            answers=milliseconds is not None,
            trouble=trouble,
            head=watcher.head.number if watcher.head is not None else None,
            behind=self._behind(watcher) if watcher.head is not None else None,
            subscribed=watcher.subscribed,
            milliseconds=None if milliseconds is None else round(milliseconds, 1),
            besu_version=".".join(map(str, traits.besu_version)) if traits is not None else "",
            validator=traits.validator if traits is not None else None,
            notes=tuple(self._notes(traits.besu_version)) if traits is not None else (),
        )
