import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.besu.codec.json_rpc import Answer, Call, result_of
from orchestrator.besu.errors import ConnectionLostError
from orchestrator.besu.transport.gathered_reads import ReadGatherer


class Asked:
    """Answers each call with its first parameter and remembers what travelled together."""

    def __init__(self, failures: list[Exception] | None = None) -> None:
        self.sizes: list[int] = []
        self.failures = failures or []

    async def __call__(self, calls: Sequence[Call]) -> Sequence[Answer]:
        self.sizes.append(len(calls))
        if self.failures:
            raise self.failures.pop(0)
        await asyncio.sleep(0)
        return [Answer(1, call.params[0]) for call in calls]


async def ask(gatherer: ReadGatherer, *numbers: int) -> list[object]:
    answers = await gatherer.read([Call("eth_read", (number,)) for number in numbers])
    return [result_of(answer) for answer in answers]


async def test_reads_of_one_moment_travel_together_and_each_gets_its_own_answers() -> None:
    """A hundred askers at the same moment cost one request, and nobody gets another's answers."""
    asked = Asked()
    gatherer = ReadGatherer(asked, 0.001)
    answers = await asyncio.gather(*(ask(gatherer, n, n + 1000) for n in range(100)))
    assert answers == [[n, n + 1000] for n in range(100)]
    assert asked.sizes == [200]


async def test_more_than_fits_is_parted_without_parting_anybody() -> None:
    """What is more than one request holds goes in several, and each asker's calls stay together."""
    asked = Asked()
    gatherer = ReadGatherer(asked, 0.001)
    await asyncio.gather(*(ask(gatherer, *range(start, start + 100)) for start in range(0, 700, 100)))
    assert asked.sizes == [200, 200, 200, 100]


async def test_what_many_ask_alike_travels_once() -> None:
    """Fifty askers of the same two things, and of one of their own each, cost 52 calls."""
    asked = Asked()
    gatherer = ReadGatherer(asked, 0.001)
    answers = await asyncio.gather(*(ask(gatherer, -1, n, -2) for n in range(50)))
    assert answers == [[-1, n, -2] for n in range(50)]
    assert asked.sizes == [52]


async def test_a_failure_is_told_to_everybody_who_asked() -> None:
    """When no answer comes, every asker of the moment is told so, and the next moment works."""
    gatherer = ReadGatherer(Asked([ConnectionLostError("gone")]), 0.001)
    results = await asyncio.gather(*(ask(gatherer, n) for n in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionLostError] * 3
    assert await ask(gatherer, 7) == [7]


async def test_who_waits_for_a_cancelled_asker_asks_again() -> None:
    """When the task that was to ask for all is cancelled, the others still get their answers."""
    gatherer = ReadGatherer(Asked(), 0.01)
    leader = asyncio.create_task(ask(gatherer, 1))
    others = [asyncio.create_task(ask(gatherer, n)) for n in (2, 3)]
    await asyncio.sleep(0)
    leader.cancel()
    assert await asyncio.gather(*others) == [[2], [3]]
    with pytest.raises(asyncio.CancelledError):
        await leader


async def test_a_leader_cancelled_while_it_asks_leaves_nobody_behind() -> None:
    """A cancellation in the middle of the request makes the others ask again, too."""
    began = asyncio.Event()
    sizes = []

    async def slow(calls: Sequence[Call]) -> Sequence[Answer]:
        sizes.append(len(calls))
        if len(sizes) == 1:
            began.set()
            await asyncio.sleep(60)
        return [Answer(1, call.params[0]) for call in calls]

    gatherer = ReadGatherer(slow, 0.001)
    leader = asyncio.create_task(ask(gatherer, 1))
    other = asyncio.create_task(ask(gatherer, 2))
    await began.wait()
    leader.cancel()
    assert await other == [2]
    assert sizes == [2, 1]
