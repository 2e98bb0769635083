"""Mistakes in what is asked of an addition or a repair before it: each drops one rule of replays."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from orchestrator.engine.attempts.submission import Sending
from orchestrator.engine.ports.nodes import Head
from orchestrator.membership import preflight
from orchestrator.membership.facts import Surveyed
from orchestrator.membership.forecast import newcomers, outlook, senders
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.forecast.newcomers import Departure, NewcomerFacts
from orchestrator.membership.forecast.senders import SenderFacts, SenderStanding
from orchestrator.membership.model import Change

Planting = contextlib.AbstractContextManager[Any]


def lock_block_not_looked_at() -> Planting:
    """The forecast is asked before the lock only: the lock's own block is not looked at."""

    async def wrong(_: Sending, change: Change, head: Head) -> None:
        return None

    return patch.object(Sending, "_unsafe_since", wrong)


def accounts_not_counted() -> Planting:
    """Every block is taken for one that can be replayed."""
    return patch.object(outlook, "_replayable", lambda *_: True)


def any_sender() -> Planting:
    """Every member's node is taken for one whose bundle is whole."""

    def wrong(history: GroupHistory, sender: SenderFacts) -> SenderStanding:
        return senders.standing(history, replace(sender, replays=(), unseen=None))

    return patch.object(outlook, "standing", wrong)


def neighbours_only() -> Planting:
    """Of a bundle only neighbouring blocks are looked at."""

    def wrong(history: GroupHistory, sender: SenderFacts) -> SenderStanding:
        blocks = [block for block in history.blocks if block.number <= sender.head]
        ends = [*(block.number for block in blocks[1:]), sender.head + 1]
        roots = {after - 1: block.state_root for block, after in zip(blocks, ends, strict=False)}
        return senders.standing(history, replace(sender, roots=roots))

    return patch.object(outlook, "standing", wrong)


def roots_only() -> Planting:
    """Of a bundle only roots are looked at, not what its node replayed."""

    def wrong(history: GroupHistory, sender: SenderFacts) -> SenderStanding:
        replays = tuple(replace(replay, privacy_group_id=history.privacy_group_id) for replay in sender.replays)
        return senders.standing(history, replace(sender, replays=replays))

    return patch.object(outlook, "standing", wrong)


def old_prefix_check() -> Planting:
    """Of a former member some roots are compared, as a bisection would, and not what its node replayed."""
    right = newcomers.departure

    def wrong(history: GroupHistory, newcomer: NewcomerFacts) -> Departure:
        found, head = right(history, newcomer), newcomer.head or 0
        last = newcomers.executed_last(history, newcomer.roots.get(head, ""))
        if found.trouble is None or last is None:
            return found
        probes = {last + (head - last) * part // 8 for part in (4, 6, 7, 8)}
        same = all(newcomer.roots.get(number) == newcomer.roots.get(head) for number in probes)
        return Departure(last=last) if same else found

    return patch.object(outlook, "departure", wrong)


@contextlib.contextmanager
def repair_from_old_verdict() -> Iterator[None]:
    """A repair removes and adds whoever was lost when it was asked for, whatever was done since."""

    def wrong(change: Change, seen: Surveyed) -> tuple[str, ...]:
        return change.repair.members if change.repair is not None and change.repairs else ()

    with patch.object(preflight, "to_be_repaired", wrong), patch.object(preflight, "repair_trouble", lambda *_: None):
        yield
