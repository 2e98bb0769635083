"""Is what was read still of the chain? Kept blocks are compared by hash where the chain may have left them."""

from collections.abc import Sequence

from orchestrator.engine.nodes.watcher import ChainWatcher


class BranchWatch:
    """Knows when kept blocks have to be compared: at first sight of a node, and after it saw a reorganisation."""

    def __init__(self) -> None:
        self._settled: dict[str, int] = {}

    def may_have_left(self, watcher: ChainWatcher) -> bool:
        """Return whether the node's chain may be another than when it was last compared."""
        return self._settled.get(watcher.node.name) != watcher.reorganisations

    def settled(self, watcher: ChainWatcher) -> None:
        """Note that what is kept was compared with the node's chain."""
        self._settled[watcher.node.name] = watcher.reorganisations


async def holds_through(watcher: ChainWatcher, kept: Sequence[tuple[int, str]]) -> int | None:
    """Return the newest kept block through which what is kept is of a node's chain; None when none of it is.

    What lies above the node's head is not compared: that the node has no such block does not tell that it will get
    another one.

    Args:
        watcher: The node.
        kept: Numbers and hashes, newest first.

    Raises:
        NodeError: It does not answer.
    """
    head = await watcher.current()
    compared = [(number, block_hash) for number, block_hash in kept if number <= head.number]
    for number, block_hash in compared:
        known = watcher.hash_of(number)
        block = await watcher.node.block(number) if known is None else None
        # The newest first: mostly it holds, and all before it with it.
        if block_hash == (known if block is None else block.block_hash):
            return kept[0][0] if number == compared[0][0] else number
    return kept[0][0] if kept and not compared else None
