import asyncio
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.proof.replay_tracker import POLLS_OF_A_NODE, PROBES, ReplayTracker, learn, probes, span
from orchestrator.membership.attempt import Action
from tests.fakes.clock import START
from tests.fakes.network import FakeNetwork, FakeNode, Group


@given(first=st.integers(0, 50), length=st.integers(1, 5000), steps=st.lists(st.integers(0, 900), min_size=1))
def test_progress_is_monotone_and_never_ahead_of_the_node(first: int, length: int, steps: list[int]) -> None:
    """However a replay moves, what is reported rises, stays in the span and is never more than was replayed."""
    last = first + length - 1
    known = span(first, last)
    through = first - 1
    for moved in steps:
        through = min(last, through + moved)
        before = known.through
        asked = probes(known)
        assert len(asked) <= PROBES
        known = learn(known, {block: block <= through for block in asked})
        assert before <= known.through <= through
        assert 0 <= known.replayed <= known.total == length


@given(
    counts=st.lists(st.tuples(st.booleans(), st.integers(1, 500)), min_size=1, max_size=60), through=st.integers(0, 70)
)
def test_progress_is_told_by_what_is_in_the_blocks(counts: list[tuple[bool, int]], through: int) -> None:
    """Where the transactions of each block are known, those replayed are counted, and blocks without any are none."""
    work = [(number, count) for number, (held, count) in enumerate(counts, start=1) if held]
    known = learn(span(1, len(counts), work), {min(through, len(counts)): True} if through else {})
    done = [count for number, count in work if number <= known.through]
    if work:
        assert (known.replayed, known.total) == (len(done), len(work))
    assert (known.transactions_replayed, known.transactions_total) == (sum(done), sum(count for _, count in work))


@given(length=st.integers(1, 100_000))
def test_a_finished_replay_is_found_in_logarithmic_time(length: int) -> None:
    """When everything is replayed, the probes reach the end in a number of polls that grows with the logarithm."""
    known = span(1, length)
    polls = 0
    while known.through < length:
        known = learn(known, dict.fromkeys(probes(known), True))
        polls += 1
        assert polls <= 6


def test_a_poll_costs_two_calls_and_waits_for_its_interval() -> None:
    """Two polls within the interval ask the node once, for two blocks; the first also finds the group's first block."""
    network = FakeNetwork()
    old, new = FakeNode(network, "old", "A"), FakeNode(network, "new", "B")
    network.mine(5)
    network.groups["g"] = Group(owner="0xo", participants=("A",))
    network.write("g", 40)
    network.act("g", Action.LOCK)
    network.act("g", Action.ADD, ["B"])
    new.replayed_through = 20
    tracker = ReplayTracker(timedelta(seconds=1))

    async def poll(seconds: float) -> int:
        return (await tracker.poll(new, old, "g", 46, START + timedelta(seconds=seconds))).through

    async def run() -> list[int]:
        return [await poll(0), await poll(0.5), await poll(1.5), await poll(3)]

    seen = asyncio.run(run())
    assert new.calls == 3
    assert seen[0] == seen[1]
    assert seen == sorted(seen)
    assert seen[-1] <= 20


def test_a_replay_of_ten_thousand_costs_two_calls_a_second() -> None:
    """However often a replay of 10,000 blocks is asked about, its node gets one request of two calls a second."""
    network = FakeNetwork()
    old, new = FakeNode(network, "old", "A"), FakeNode(network, "new", "B")
    network.groups["g"] = Group(owner="0xo", participants=("A",))
    network.mine(10_000)
    network.act("g", Action.ADD, ["B"])
    tracker = ReplayTracker(timedelta(seconds=1))

    async def run() -> list[int]:
        seen = []
        for tenths in range(300):
            new.replayed_through = min(10_000, 40 * tenths)
            now = START + timedelta(seconds=tenths / 10)
            seen.append((await tracker.poll(new, old, "g", 10_000, now)).through)
        return seen

    seen = asyncio.run(run())
    assert new.calls * PROBES <= 2 * 30
    assert old.calls <= (10_000).bit_length()
    assert seen == sorted(seen)
    assert seen[-1] == 10_000


def test_many_replays_on_one_node_cost_it_no_more_than_a_few() -> None:
    """A hundred groups that one block brings to a node are followed with a bounded number of calls a second."""
    network = FakeNetwork()
    old, new = FakeNode(network, "old", "A"), FakeNode(network, "new", "B")
    names = [f"g{number}" for number in range(100)]
    for name in names:
        network.groups[name] = Group(owner="0xo", participants=("A",))
    network.mine(40)
    new.replayed_through = 20
    tracker = ReplayTracker(timedelta(seconds=1))

    async def run() -> list[int]:
        spans = []
        for second in range(10):
            now = START + timedelta(seconds=second)
            spans = [await tracker.poll(new, old, name, 40, now) for name in names]
        return [known.replayed for known in spans]

    replayed = asyncio.run(run())
    assert new.calls == 10 * POLLS_OF_A_NODE
    assert min(replayed) == 0
    assert max(replayed) > 0
