"""Waiting for nodes to have a block before something is signed or broadcast that is looked at, or replayed, there."""

from orchestrator.engine.attempts.broadcast import lacks
from orchestrator.engine.attempts.settlement import SILENCE_SECONDS
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher, silence
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.attempt import Action
from orchestrator.membership.reasons.table import Reason

NEWCOMER_SECONDS = 30.0
"""How long a new member's node that answers may take to import the block after the lock's."""


async def caught_up(fleet: Fleet, watcher: ChainWatcher) -> None:
    """Wait until a node has the newest block that two nodes have.

    What somebody did under our lock may be in it, and the group is looked at on this node.

    Raises:
        NodeError: It does not get the block.
    """
    newest = fleet.newest_head()
    if (await watcher.current()).number < newest and await watcher.wait_beyond(newest - 1, SILENCE_SECONDS) is None:
        raise silence(watcher.node.name)


async def reached(fleet: Fleet, watcher: ChainWatcher, action: Action, members: tuple[str, ...], number: int) -> None:
    """Wait until the sending node has a block, and those of new members.

    Args:
        fleet: The nodes.
        watcher: The one that sends.
        action: What it sends.
        members: Whom that names.
        number: The block.

    Raises:
        NodeError: One of them does not get it.
    """
    if await watcher.wait_beyond(number - 1, SILENCE_SECONDS) is None:
        raise silence(watcher.node.name)
    hosts = dict.fromkeys(fleet.hosting(key) for key in members if action is Action.ADD)
    for newcomer in hosts:
        if newcomer is None or newcomer is watcher:
            continue
        if await newcomer.wait_beyond(number - 1, NEWCOMER_SECONDS) is None and await lacks(newcomer, number):
            detail = f"the new member's node {newcomer.node.name} does not get block {number}, which follows the lock"
            raise NodeError(Reason(slug="node_behind", detail=detail, members=members))
