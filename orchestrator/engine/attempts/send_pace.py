"""At most one signed transaction a block for a group while its enclaves don't take them.

What was not taken can't be mined, and what kept it from being taken seldom passes within a block: trying again sooner
only loads enclaves that are in trouble.
"""

import contextlib

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher, silence
from orchestrator.engine.ports.nodes import NodeError

MOST_GROUPS = 10_000
BLOCK_SECONDS = 60.0
"""How long the next block may take before the wait for it is told as what it is."""


class SendPace:
    """Remembers, by group, the block in which something was tried in vain.

    Args:
        fleet: The nodes.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._tried_at: BoundedDict[str, int] = BoundedDict(MOST_GROUPS)

    async def tried(self, privacy_group_id: str, watcher: ChainWatcher) -> None:
        """Keep that a signed transaction was handed to a node and not taken, or was only to find out who takes one."""
        newest = self._fleet.newest_head()
        with contextlib.suppress(NodeError):
            newest = max((await watcher.refresh()).number, newest)
        self._tried_at[privacy_group_id] = newest

    async def wait(self, privacy_group_id: str, watcher: ChainWatcher) -> None:
        """Come back when the node is beyond that block; at once where nothing was tried in vain.

        Raises:
            NodeError: It stays where it is: while blocks are not made or not imported nothing could be mined either.
        """
        number = self._tried_at.get(privacy_group_id)
        if number is None:
            return
        if await watcher.wait_beyond(number, BLOCK_SECONDS) is None:
            raise silence(watcher.node.name)
        self._tried_at.pop(privacy_group_id, None)
