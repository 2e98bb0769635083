"""The whole devnet in one process, without sockets: the network and its nodes' methods. Pure; time is a parameter."""

from typing import Final

from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.network.network import Network
from orchestrator.devnet.rpc.control import Controls
from orchestrator.devnet.rpc.dispatch import NodeApi

MAX_BLOCKS_AT_ONCE: Final = 10_000
PROPOSED_AGAIN_SECONDS: Final = 0.05
"""After so long a block is proposed again that validators could not check, their enclaves not having answered yet."""


class Emulation:
    """A devnet that answers calls; whoever holds it moves the time.

    Attributes:
        network: nodes, chain, pool.
        controls: what the ``devnet_`` methods change.
        apis: the methods of each node; ``apis[0]`` is node 1's.

    Its clock starts at ``now``; blocks are stamped from ``wall_time`` (seconds since the epoch; the genesis block's
    time when it is None) on.
    """

    def __init__(
        self, config: DevnetConfig, *, genesis_timestamp: int = 0, now: float = 0.0, wall_time: float | None = None
    ) -> None:
        self.network = Network(config, genesis_timestamp=genesis_timestamp, now=now, wall_time=wall_time)
        self.controls = Controls(self.network)
        self.apis = [NodeApi(self.network, node, self.controls) for node in self.network.nodes]
        self._period = self.controls.block_period_seconds
        self._next_block_at = now + self._period

    def advance(self, now: float, *, catch_up: bool = True) -> float | None:
        """Make the blocks that are due by ``now`` (seconds) and let nodes import; return when to come back.

        Args:
            now: never less than before.
            catch_up: make every block that was due; otherwise, as a network does that was held up, only one.

        Returns:
            When the next block or replay is due; None when nothing is to come.
        """
        if self.controls.block_period_seconds != self._period:
            self._period = self.controls.block_period_seconds
            self._next_block_at = self.network.now + self._period
        made = 0
        while self._period and now >= self._next_block_at and made < MAX_BLOCKS_AT_ONCE:
            due = self._next_block_at if catch_up else now
            is_made = self.network.make_block(due) is not None
            self._next_block_at = due + self._period
            made += 1
            if not is_made and self.network.proposal_waits:
                self._next_block_at = min(self._next_block_at, due + PROPOSED_AGAIN_SECONDS)
            elif not is_made and (over_at := self.network.advance(due)) is not None:
                # Validators that are still importing make the block that is overdue as soon as they are done.
                self._next_block_at = min(self._next_block_at, max(over_at, due))
        wake_at = self.network.advance(now)
        wakes = [at for at in (wake_at, self._next_block_at if self._period else None) if at is not None]
        return min(wakes, default=None)
