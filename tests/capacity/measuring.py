"""What is counted of a network of some size, beside what the formulas say of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import quantiles
from typing import Final

from orchestrator.engine.audit.comparison import audit
from orchestrator.store.commits.database import Database
from tests.capacity.counting import BLOCK_SECONDS, Counts, Harness
from tests.capacity.formulas import (
    ADDITION_BLOCKS,
    AUDIT_MOST_CALLS,
    LANE_BLOCKS,
    OF_BLOCK,
    PUBLISHED,
    REMOVAL,
    ROWS,
    SHARED_UNITS,
    UNITS,
    Load,
)
from tests.simulation import virtual_time
from tests.simulation.running import configure_logging

SETTLING_BLOCKS: Final = 20
IDLE_BLOCKS: Final = 48
FIRST: Final = "first additions"
LATER: Final = "later additions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a simulated network is.

    Attributes:
        nodes: Members' nodes.
        groups: Groups.
        members: Members of each.
        at_once: Additions at once, in each of two rounds, each to a group of its own.
        per_block: Additions that are asked for in each of `blocks` blocks then.
        blocks: See there.
    """

    nodes: int
    groups: int
    members: int
    at_once: int
    per_block: int = 0
    blocks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One value.

    Attributes:
        name: What it is.
        counted: What the simulation counted.
        reckoned: What the formula says; None where there is none.
    """

    name: str
    counted: float
    reckoned: float | None = None

    @property
    def off(self) -> float:
        """How far the formula is off, as a part of what was counted."""
        return 0.0 if self.reckoned is None else abs(self.reckoned - self.counted) / max(self.counted, 1e-9)


def measure(size: Size) -> dict[str, Line]:
    """Simulate a network of a size, and count."""
    configure_logging([], trace=False)
    return {line.name: line for line in virtual_time.run(_measure(size))}


async def _measure(size: Size) -> list[Line]:
    load = Load(nodes=size.nodes, groups=size.groups, members=size.members, block_seconds=BLOCK_SECONDS)
    async with Database("sqlite://") as database:
        harness = Harness(size.nodes, database)
        await harness.make_groups(size.groups, size.members)
        harness.start()
        await harness.pass_blocks(5)
        before = harness.counts()
        await harness.pass_blocks(IDLE_BLOCKS)
        idle = harness.counts().since(before)
        lines = [
            Line(name="idle calls of a block", counted=idle.total / idle.blocks, reckoned=load.idle_calls),
            Line(name="idle transactions of a second", counted=idle.transactions / idle.blocks / BLOCK_SECONDS),
        ]
        before = harness.counts()
        report = await audit(harness.replica.fleet, harness.groups)
        audited = harness.counts().since(before)
        lines.append(
            Line(name="calls of an audit", counted=audited.total, reckoned=min(load.audit_calls, AUDIT_MOST_CALLS))
        )
        lines.append(
            Line(name="audited groups", counted=len(report.comparisons), reckoned=size.groups / load.audit_rounds)
        )
        places = iter(range(size.groups))
        for name in (FIRST, LATER):
            lines += await _additions(harness, size, load, [next(places) for _ in range(size.at_once)], name)
            await harness.pass_blocks(SETTLING_BLOCKS)
        lines += await _removals(harness, size, load)
        if size.per_block:
            lines += await _sustained(harness, size, places)
        return lines


async def _additions(harness: Harness, size: Size, load: Load, chosen: list[int], name: str) -> list[Line]:
    before, rows = harness.counts(), await _rows(harness)
    for place in chosen:
        harness.ask(f"add {place}", "add_members", harness.groups[place], [_newcomer(harness, size, place)])
    await harness.at_rest()
    found, after = harness.counts().since(before), await _rows(harness)
    held = load.held + chosen[0] / size.nodes
    grown = Load(nodes=size.nodes, groups=round(held * size.nodes), members=1, block_seconds=BLOCK_SECONDS)
    # Nobody has looked at these groups: their history is read from the chain's beginning, without the empty blocks.
    bystanders = min(size.nodes, 3 * len(chosen)) * grown.bystander_calls / len(chosen)
    reckoned = load.addition_calls(before.filled) + OF_BLOCK * size.nodes * found.blocks / len(chosen) + bystanders
    net = found.total - load.idle_calls * found.blocks
    return [
        # At the very first nobody has replayed anything, and halving finds a history with fewer calls.
        Line(name=f"{name}: calls each", counted=net / len(chosen), reckoned=reckoned if name != FIRST else None),
        Line(name=f"{name}: logs asked for, each", counted=found.by_method["priv_getLogs"] / len(chosen)),
        Line(name=f"{name}: blocks", counted=found.blocks, reckoned=ADDITION_BLOCKS),
        *_of_each(found, len(chosen), name),
        *(
            Line(
                name=f"{name}: rows in {table}, each",
                counted=(after[table] - rows[table]) / len(chosen),
                reckoned=number,
            )
            for table, number in ROWS.items()
        ),
    ]


async def _removals(harness: Harness, size: Size, load: Load) -> list[Line]:
    before = harness.counts()
    for place in range(size.at_once):
        harness.ask(f"remove {place}", "remove_members", harness.groups[place], [_newcomer(harness, size, place)])
    await harness.at_rest()
    found = harness.counts().since(before)
    net = found.total - load.idle_calls * found.blocks
    return [Line(name="removals: calls each", counted=net / size.at_once, reckoned=REMOVAL)]


async def _sustained(harness: Harness, size: Size, places: Iterator[int]) -> list[Line]:
    """Ask for additions in each block, and look at the lanes that are held and at how long each takes."""
    held, asked = [], []
    for _ in range(size.blocks):
        for _ in range(size.per_block):
            place = next(places)
            asked.append(f"add {place}")
            harness.ask(asked[-1], "add_members", harness.groups[place], [_newcomer(harness, size, place)])
        await harness.pass_blocks(1)
        ((lanes,),) = await harness.rows("SELECT count(*) FROM lanes WHERE holder IS NOT NULL")
        held.append(int(str(lanes)))
    await harness.at_rest()
    rows = await harness.rows(
        "SELECT c.request_id, (max(h.at) - c.created_at) / 1e6 FROM changes c JOIN history h USING (change_id) "
        "GROUP BY c.change_id"
    )
    taken = [float(str(seconds)) / BLOCK_SECONDS for request_id, seconds in rows if str(request_id) in set(asked)]
    cuts = quantiles(taken, n=100)
    steady = held[ADDITION_BLOCKS:] or held
    return [
        Line(name="additions in each block", counted=size.per_block),
        Line(
            name="lanes held",
            counted=sum(steady) / len(steady),
            reckoned=size.per_block * LANE_BLOCKS,
        ),
        Line(name="blocks from asking to proof, median", counted=cuts[49], reckoned=ADDITION_BLOCKS),
        Line(name="blocks from asking to proof, 99th of 100", counted=cuts[98]),
    ]


def _of_each(found: Counts, number: int, name: str) -> list[Line]:
    return [
        Line(name=f"{name}: units of work, each", counted=found.units / number, reckoned=UNITS + SHARED_UNITS / number),
        Line(name=f"{name}: messages published, each", counted=found.published / number, reckoned=PUBLISHED),
    ]


def _newcomer(harness: Harness, size: Size, place: int) -> str:
    return harness.keys[(place + size.members) % size.nodes]


async def _rows(harness: Harness) -> dict[str, int]:
    counted = {table: await harness.rows(f"SELECT count(*) FROM {table}") for table in ROWS}  # noqa: S608 - tables named above
    return {table: int(str(rows[0][0])) for table, rows in counted.items()}
