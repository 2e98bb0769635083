"""How much a replay has to execute, from what was read of a group's history for the forecast."""

from collections.abc import Callable, Iterable

from orchestrator.engine.history.ports import HistoryStore
from orchestrator.membership.forecast.blocks import Examination

Work = tuple[tuple[int, int], ...]
"""The blocks that changed a group, ascending, and how many private transactions each of them has."""


def _nothing(_privacy_group_id: str) -> Work | None:
    return None


class ReplayWork:
    """Tells what each block of a group holds.

    Args:
        store: Keeps what was read.
        remembered: Returns the same where it is in memory, such as that of a forecast a moment ago; None where not.
    """

    def __init__(self, store: HistoryStore, remembered: Callable[[str], Work | None] = _nothing) -> None:
        self._store = store
        self._remembered = remembered

    async def of_group(self, privacy_group_id: str) -> Work:
        """Return the blocks that changed a group, ascending, and how many private transactions each of them has.

        Markers do not show their group, so that those of other groups in the same block count, too: what is left is
        told too high then, never by the blocks alone.

        Raises:
            StoreError: The store does not answer.
        """
        known = self._remembered(privacy_group_id)
        if known is not None:
            return known
        numbers = [block.number for block in (await self._store.group_blocks(privacy_group_id)).blocks]
        return work_in(numbers, await self._store.examinations(numbers))


def work_in(numbers: Iterable[int], examinations: Iterable[Examination]) -> Work:
    """Return what blocks hold; one that was not examined holds one transaction at least."""
    markers = {seen.number: seen.markers for seen in examinations}
    return tuple((number, markers.get(number) or 1) for number in numbers)
