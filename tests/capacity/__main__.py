"""``python -m tests.capacity``: simulate growing networks in virtual time, count, and compare with the formulas.

Nothing of it is measured in seconds of this machine, so that a busy one changes nothing. ``--paper`` prints what the
formulas say of networks that are too large to be simulated.
"""

import argparse
import sys
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.capacity.formulas import Load, halved_history_calls
from tests.capacity.measuring import Size, measure
from tests.capacity.scanning import scanned

SIZES: Final = (
    Size(nodes=4, groups=100, members=3, at_once=8, per_block=4, blocks=12),
    Size(nodes=8, groups=400, members=3, at_once=16, per_block=8, blocks=12),
    Size(nodes=12, groups=1_200, members=3, at_once=24, per_block=16, blocks=12),
    Size(nodes=8, groups=4_000, members=3, at_once=16),
)
PAPER: Final = (
    Load(nodes=3, groups=100, members=3, changes_per_minute=1),
    Load(nodes=10, groups=1_000, members=3, changes_per_minute=10),
    Load(nodes=20, groups=10_000, members=3, changes_per_minute=100),
    Load(nodes=50, groups=100_000, members=3, changes_per_minute=100),
    Load(nodes=50, groups=100_000, members=3, changes_per_minute=1_000),
)


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.capacity", description=__doc__)
    parser.add_argument("--paper", action="store_true", help="print what the formulas say, and simulate nothing")
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="simulate the first so many sizes")
    given = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if not given.paper:
        _simulate(console, SIZES[: given.sizes])
    _reckon(console)
    return 0


def _simulate(console: Console, sizes: tuple[Size, ...]) -> None:
    for size in sizes:
        table = Table(title=str(size), title_justify="left")
        for name in ("counted per", "simulated", "formula", "off"):
            table.add_column(name)
        for line in measure(size).values():
            said = "" if line.reckoned is None else f"{line.reckoned:.1f}"
            table.add_row(line.name, f"{line.counted:.1f}", said, f"{line.off:.0%}" if said else "")
        console.print(table)


def _reckon(console: Console) -> None:
    table = Table(title="On paper, blocks of 5 s, additions only", title_justify="left")
    for name in ("nodes", "groups", "additions/min", "groups/node", "lanes", "calls/s and node", "audits for all"):
        table.add_column(name)
    for load in PAPER:
        numbers = (load.held, load.lanes, load.calls_per_node_and_second, load.audit_rounds)
        table.add_row(
            *(f"{value:,g}" for value in (load.nodes, load.groups, load.changes_per_minute)),
            *(f"{value:,.1f}" for value in numbers),
        )
    console.print(table)
    for blocks in (100_000, 6_300_000):
        calls = halved_history_calls(10_000, blocks)
        console.print(f"first history of 10,000 transactions in {blocks:,} blocks, by halving: {calls:,.0f} calls")
    table = Table(title="First history in 1,000,000 blocks, one by one", title_justify="left")
    for name in ("blocks with a transaction", "roots", "looks", "calls", "round trips", "MB"):
        table.add_column(name)
    for one_in in (1_000, 200, 64, 20, 1):
        found = scanned(1_000_000, one_in)
        scan = (found.roots, found.looks, found.calls, found.trips, found.megabytes)
        table.add_row(f"1 in {one_in:,}", *(f"{value:,.0f}" for value in scan))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
