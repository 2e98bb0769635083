"""Measuring a group's history before it is bundled: all of its blocks are counted, some of its transactions weighed."""

from collections.abc import Awaitable, Callable

from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.membership.bundle_limits import BundleSize, estimated

MOST_BLOCKS = 60
"""Of how many blocks the transactions are read: first and last, and others evenly between them."""

Work = tuple[tuple[int, int], ...]
"""Blocks of a group with the private transactions in each, those of other groups included."""


class BundleSizes:
    """Estimates bundles.

    Args:
        work: Tells what each block of a group holds.
    """

    def __init__(self, work: Callable[[str], Awaitable[Work]]) -> None:
        self._work = work

    async def of_group(self, watcher: ChainWatcher, privacy_group_id: str) -> BundleSize | None:
        """Return how large a group's bundle is; None while its history is not known.

        Raises:
            NodeError: The node does not answer.
            StoreError: The store does not answer.
        """
        work = await self._work(privacy_group_id)
        if not work:
            return None
        chosen = _spread(work, MOST_BLOCKS)
        sizes = await watcher.node.private_sizes(privacy_group_id, [number for number, _ in chosen])
        if not sizes:
            return None
        # Markers don't show their group: how many of the sample are its own tells how many of all.
        counted = sum(count for _, count in work)
        share = min(len(sizes) / sum(count for _, count in chosen), 1.0)
        return estimated(max(round(counted * share), len(work)), sizes)


def _spread(work: Work, most: int) -> Work:
    if len(work) <= most:
        return work
    last = len(work) - 1
    return tuple(work[at * last // (most - 1)] for at in range(most))
