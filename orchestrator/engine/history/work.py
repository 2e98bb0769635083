"""How much a replay has to execute, from what was read of a group's history for the forecast."""

from orchestrator.engine.history.ports import HistoryStore


class ReplayWork:
    """Tells what each block of a group holds.

    Args:
        store: Keeps what was read.
    """

    def __init__(self, store: HistoryStore) -> None:
        self._store = store

    async def of_group(self, privacy_group_id: str) -> tuple[tuple[int, int], ...]:
        """Return the blocks that changed a group, ascending, and how many private transactions each of them has.

        Markers do not show their group, so that those of other groups in the same block count, too: what is left is
        told too high then, never by the blocks alone.

        Raises:
            StoreError: The store does not answer.
        """
        numbers = [block.number for block in (await self._store.group_blocks(privacy_group_id)).blocks]
        markers = {seen.number: seen.markers for seen in await self._store.examinations(numbers)}
        return tuple((number, markers.get(number) or 1) for number in numbers)
