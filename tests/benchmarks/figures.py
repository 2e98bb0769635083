"""What was measured: figures with their bounds, shown as a table and written as JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure must hold.

    Attributes:
        value: The bound.
        at_most: True when the figure must not be above it, False when it must not be below.
    """

    value: float
    at_most: bool = True

    def holds(self, value: float) -> bool:
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    Attributes:
        part: Letter of the part that measured it.
        name: What it is, for a person; unique within the part.
        value: The value.
        unit: Its unit, such as "ms" or "blocks".
        bound: What it must hold, if anything.
        note: How it came about.
    """

    part: str
    name: str
    value: float
    unit: str
    bound: Bound | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        return None if self.bound is None else self.bound.holds(self.value)


def at_most(value: float) -> Bound:
    return Bound(value)


def at_least(value: float) -> Bound:
    return Bound(value, at_most=False)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least so many percent of all values do not exceed."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def show(console: Console, figures: Sequence[Figure]) -> None:
    table = Table(box=None, pad_edge=False)
    for title, justify in (("part", "left"), ("figure", "left"), ("value", "right"), ("unit", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type] # str for a literal
    for title in ("must be", "holds", "note"):
        table.add_column(title)
    for figure in figures:
        holds = {None: "", True: "yes", False: "[bold red]NO[/]"}[figure.holds]
        bound = "" if figure.bound is None else str(figure.bound)
        table.add_row(figure.part, figure.name, _short(figure.value), figure.unit, bound, holds, figure.note)
    console.print(table)


def _short(value: float) -> str:
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write_json(path: Path, machine: dict[str, object], figures: Sequence[Figure]) -> None:
    found = [
        {**{name: value for name, value in asdict(figure).items() if name != "bound"}}
        | {"bound": None if figure.bound is None else str(figure.bound), "holds": figure.holds}
        for figure in figures
    ]
    path.write_text(json.dumps({"machine": machine, "figures": found}, indent=1, ensure_ascii=False) + "\n")
