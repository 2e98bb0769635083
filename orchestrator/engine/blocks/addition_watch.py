"""Looking at additions' markers in new blocks: those that were there before, and those that nodes refused."""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from typing import Final, Protocol

import structlog

from orchestrator.engine.blocks.fallen_back import fallen_back
from orchestrator.engine.blocks.unexpected_additions import misread_by, parted, refused_and_executed
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.records import AdditionRecord
from orchestrator.membership.damage.fallen_back import misreading_event, repetition_events, unexpected_events
from orchestrator.membership.damage.unextendable import SeenAddition, WatchTally, repetitions

ADDITIONS_AT_ONCE: Final = 64
MOST_LISTED: Final = 10_000
"""Groups of one node that are looked at after an addition that nobody asked for."""

log = structlog.get_logger()


class SeenAdditions(Protocol):
    """The durable record of additions. Every method may raise `StoreError`."""

    async def first_additions(self, additions: Collection[str]) -> dict[str, SeenAddition]:
        """Return by their bytes where additions were seen first."""


class AdditionWatch:
    """Looks at additions.

    Args:
        fleet: The nodes.
        groups: The store of changes.
        record: The additions that were seen before.
    """

    def __init__(self, fleet: Fleet, groups: AdditionRecord, record: SeenAdditions) -> None:
        self._fleet = fleet
        self._groups = groups
        self._record = record

    async def look(self, tally: WatchTally, additions: tuple[SeenAddition, ...]) -> WatchTally:
        """Tell what the additions of some blocks did that nobody asked for; returns the tally with them.

        Args:
            tally: What the blocks were so far.
            additions: Their markers.

        Raises:
            NodeError: No node answers; the same blocks are looked at again.
            StoreError: It could not be told; likewise.
        """
        if not additions:
            return tally
        # By their bytes: who repeats a marker signs it with another account, and the hash is another
        # (docs/besu.md#stale-bundles, 6).
        earlier = await self._record.first_additions({addition.addition for addition in additions})
        known = {addition.transaction_hash for addition in earlier.values()}
        found = repetitions((one for one in additions if one.transaction_hash not in known), earlier)
        for one in found:
            # docs/besu.md#stale-bundles, 6
            log.warning(
                "an old addition was sent again; the nodes of its sender and of its new member may have fallen back",
                block=one.block_number,
                transaction=one.transaction_hash,
                sender=one.sender,
                first_block=one.first_block,
                first_transaction=one.first_transaction,
            )
            fallen = await fallen_back(self._fleet, await self._known_here(), one)
            await self._groups.announce(repetition_events(one, fallen))
            for group in fallen:
                log.warning(
                    "the group was split by an old addition",
                    group=group.privacy_group_id,
                    members=[member.enclave_key for member in group.members],
                    through=group.through,
                )
        again = {one.transaction_hash for one in found}
        left = [addition for addition in additions if addition.transaction_hash not in known | again]
        for start in range(0, len(left), ADDITIONS_AT_ONCE):
            some = left[start : start + ADDITIONS_AT_ONCE]
            # Asked of together, so that a block of a hundred additions costs each node one request.
            said = await asyncio.gather(*(refused_and_executed(self._fleet, addition) for addition in some))
            for addition, (refused, executed) in zip(some, said, strict=True):
                await self._warn_of_unexpected(addition, refused, executed)
        return tally.with_repetitions(found)

    async def _warn_of_unexpected(
        self, addition: SeenAddition, refused: Sequence[ChainWatcher], executed: Sequence[ChainWatcher]
    ) -> None:
        """Tell of an addition that was refused; what all members executed alike was expected, whoever made it."""
        if not refused and not executed:
            await self._warn_of_misread(addition)
        if not refused:
            return
        # Refused everywhere: nobody executed it, so that nothing is split.
        if not executed and await self._groups.is_ours(addition.transaction_hash):
            return  # its change knows: a reorganisation let it be mined where its lock is not
        found = await parted(await self._known_here(), addition, refused, executed) if executed else []
        names = [[watcher.node.name for watcher in some] for some in (refused, executed)]
        log.warning(
            "an addition was mined that nodes refused",
            block=addition.block_number,
            transaction=addition.transaction_hash,
            sender=addition.sender,
            refused_by=names[0],
            executed_by=names[1],
            groups=[group.privacy_group_id for group in found],
        )
        await self._groups.announce(unexpected_events(addition, found, *names))

    async def _warn_of_misread(self, addition: SeenAddition) -> None:
        """Tell of a marker that names a private transaction as a history, before which nodes of ours stand."""
        found = await misread_by(self._fleet, addition)
        if found is None:
            return
        named, standing = found
        log.warning(
            "a marker names a private transaction as a history: nodes that have it stand before the block",
            block=addition.block_number,
            transaction=addition.transaction_hash,
            sender=addition.sender,
            names=named,
            standing=standing,
        )
        await self._groups.announce([misreading_event(addition, named, standing)])

    async def _known_here(self) -> list[str]:
        """Groups that changes succeeded in, and those that nodes list: a stranger's addition is in no change."""
        known = dict.fromkeys(await self._groups.groups())
        for watcher in self._fleet.watchers:
            with contextlib.suppress(NodeError):
                # Anybody may make groups with our keys in them: bounded.
                known |= dict.fromkeys(list(await watcher.node.groups([]))[:MOST_LISTED])
        return list(known)
