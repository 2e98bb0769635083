"""Spans made beside the engine's work."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.engine.archives.whole_changes import ChangeVersion, WholeChange
from orchestrator.engine.ports.records import HistoryEntry
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.tracing import Untraced, asking
from orchestrator.membership.model import Change, State
from orchestrator.membership.tracing import begun, read_trace, span_id
from orchestrator.traces.recorder import MOST_CALLS, SENT_AGAIN, TraceRecorder
from orchestrator.traces.spans import Span
from tests.fakes.changes import a_change, stepped
from tests.fakes.clock import START, JumpingClock

ASKED = read_trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


class Rig:
    """A recorder, the changes that it reads and the spans that it made."""

    def __init__(self) -> None:
        self.clock = JumpingClock()
        self.stored: dict[str, Change] = {}
        self.history: list[HistoryEntry] = []
        self.spans: list[Span] = []
        self.room = 10_000
        self.failure: StoreError | None = None
        self.recorder = self.another()

    def another(self) -> TraceRecorder:
        """Return a recorder of another process on the same store."""
        return TraceRecorder(self, self._take, self.clock)

    def _take(self, span: Span) -> bool:
        self.spans.append(span)
        return len(self.spans) <= self.room

    async def whole(self, change_id: str) -> WholeChange | None:
        """Read a change."""
        if self.failure is not None:
            raise self.failure
        change = self.stored[change_id]
        version = ChangeVersion(privacy_group_id=change.privacy_group_id, mark="")
        history = tuple(entry for entry in self.history if entry.change_id == change_id)
        return WholeChange(version=version, change=change, history=history, attempts=(), times=())

    def new(self, number: str = "1") -> Change:
        """Accept a change in a trace."""
        change = replace(a_change(number), created_at=self.clock.now())
        self.stored[change.change_id] = replace(change, trace=begun(change.change_id, ASKED, 1.0))
        self.recorder.accepted(self.stored[change.change_id], self.clock.now())
        return self.stored[change.change_id]

    async def step(self, before: Change, state: State, fact: str, recorder: TraceRecorder | None = None) -> Change:
        """Commit a step, a second after the one before, and make its spans."""
        self.clock.time += timedelta(seconds=1)
        after = stepped(before, state)
        entry = HistoryEntry(
            change_id=after.change_id,
            revision=after.revision,
            at=self.clock.now(),
            fact=fact,
            from_state=before.state,
            to_state=state,
        )
        self.stored[after.change_id] = after
        self.history.append(entry)
        (recorder or self.recorder).committed([after], [entry])
        await (recorder or self.recorder).make_all()
        return after


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_change_is_one_tree(rig: Rig) -> None:
    """The change lies below who asked, its steps below it, and what was done below the steps, without a gap."""
    change = rig.new()
    for state, fact in (
        (State.PREFLIGHT, "Claimed"),
        (State.REMOVING, "Surveyed"),
        (State.REMOVING, "AttemptSigned"),
        (State.VERIFYING, "AttemptSettled"),
        (State.SUCCEEDED, "ConvergenceObserved"),
    ):
        change = await rig.step(change, state, fact)
    spans = {span.span_id: span for span in rig.spans}
    assert len(spans) == len(rig.spans)
    root = spans[span_id(change.change_id, "change")]
    assert ASKED is not None
    assert (root.parent_id, root.name, root.trace.trace_id) == (ASKED.span_id, change.kind.value, ASKED.trace_id)
    assert root.end - root.start == timedelta(seconds=5)
    steps = [span for span in rig.spans if span.parent_id == root.span_id and span.name != "accept"]
    assert [span.name for span in steps] == ["queued", "preflight", "removing", "verifying"]
    assert [span.start for span in steps[1:]] == [span.end for span in steps[:-1]]
    done = [span for span in rig.spans if span.parent_id in {step.span_id for step in steps}]
    assert [span.name for span in done] == [
        "take up",
        "look at the group",
        "distribute and sign",
        "be mined",
        "prove",
    ]


async def test_another_process_goes_on_with_the_same_trace(rig: Rig) -> None:
    """Who takes a change over makes the same spans of what was just stored, and none of what is long told."""
    change = await rig.step(rig.new(), State.PREFLIGHT, "Claimed")
    rig.clock.time += SENT_AGAIN
    change = await rig.step(change, State.REMOVING, "Surveyed")
    first = list(rig.spans)
    other = rig.another()
    change = await rig.step(change, State.VERIFYING, "AttemptSettled", other)
    again = rig.spans[len(first) :]
    assert [span.name for span in again] == ["look at the group", "preflight", "be mined", "removing"]
    assert again[:2] == first[-2:]


async def test_a_change_that_a_person_ended_is_told(rig: Rig) -> None:
    """What no worker committed is found in the history."""
    change = rig.new()
    change = await rig.step(change, State.CANCELLED, "CancelRequested")
    assert [span.name for span in rig.spans] == ["accept", "cancel", "queued", change.kind.value]


async def test_questions_are_below_what_they_are_asked_for(rig: Rig) -> None:
    """What is asked of nodes lies below the step that is under way; the rest of very many is counted."""
    change = await rig.step(rig.new(), State.PREFLIGHT, "Claimed")
    made = len(rig.spans)
    with rig.recorder.performing(change):
        with asking("eth_blockNumber"):
            rig.clock.time += timedelta(seconds=1)
        with pytest.raises(TimeoutError), asking("priv_call"):
            raise TimeoutError
        await asyncio.gather(*(_ask() for _ in range(MOST_CALLS)))
    with asking("net_version"):
        pass
    await rig.step(change, State.REMOVING, "Surveyed")
    spans = {span.span_id: span for span in rig.spans}
    calls = [span for span in rig.spans[made:] if span.asks]
    assert len(calls) == MOST_CALLS
    assert rig.recorder.dropped == 2
    assert [(span.name, span.failed) for span in calls[:3]] == [
        ("eth_blockNumber", ""),
        ("priv_call", "TimeoutError"),
        ("eth_syncing", ""),
    ]
    assert {spans[span.parent_id].name for span in calls} == {"look at the group"}


async def _ask() -> None:
    with asking("eth_syncing"):
        await asyncio.sleep(0)


async def test_looks_at_a_replay_are_below_their_step(rig: Rig) -> None:
    """Most of them leave no entry in the history; who took the change over puts them below the change."""
    change = await rig.step(rig.new(), State.VERIFYING, "Surveyed")
    for recorder, parent in ((rig.recorder, "step 1"), (rig.another(), "change")):
        with recorder.performing(stepped(change, State.VERIFYING)), asking("priv_call"):
            pass
        assert rig.spans[-1].parent_id == span_id(change.change_id, parent)


async def test_what_is_not_kept_up_with_is_counted(rig: Rig) -> None:
    """Spans for which there is no room are dropped and counted."""
    rig.room = 1
    await rig.step(rig.new(), State.PREFLIGHT, "Claimed")
    assert (len(rig.spans), rig.recorder.dropped) == (3, 2)


async def test_a_store_that_is_away_is_asked_again(rig: Rig) -> None:
    """No step is lost by it."""
    rig.failure = StoreError("away")
    change = await rig.step(rig.new(), State.PREFLIGHT, "Claimed")
    assert [span.name for span in rig.spans] == ["accept"]
    running = asyncio.create_task(rig.recorder.run())
    await asyncio.sleep(0)
    rig.failure = None
    while rig.spans[-1].name != "queued":  # noqa: ASYNC110 - the clock jumps
        await asyncio.sleep(0)
    running.cancel()
    assert rig.spans[-1].parent_id == span_id(change.change_id, "change")


async def test_nothing_is_made_where_nobody_asks_for_it(rig: Rig) -> None:
    """A change whose trace nobody keeps, or that is in none, gets no span; without traces what came is passed on."""
    for trace in (None, replace(begun("c", None, 0.0))):
        change = replace(a_change("2"), trace=trace)
        rig.stored[change.change_id] = change
        rig.recorder.accepted(change, START)
        with rig.recorder.performing(change), asking("eth_blockNumber"):
            await rig.step(change, State.PREFLIGHT, "Claimed")
    assert rig.spans == []
    assert Untraced().trace_of("change", ASKED) is ASKED
