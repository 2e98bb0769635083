"""Rows with headings: columns that fit a terminal, or fields between tabs where a program reads them."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2
LAST_COLUMN = 30
"""What is kept for the last column, where that much is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Rows with headings.

    Attributes:
        headings: One for each column; the last column gives way when a line is too long.
        rows: The cells, which may be styled.
        given_up: Columns that are left out where they do not fit, the first one first.
        title: What is said above it on a terminal; empty for nothing.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str | Text, ...], ...]
    given_up: tuple[str, ...] = ()
    title: str = ""

    def print_on(self, console: Console) -> None:
        """Print it: no line is wrapped, and off a terminal nothing is padded."""
        if self.title:
            console.print(Text(self.title, "bold"))
        if not console.is_terminal:
            for row in (self.headings, *self.rows):
                console.file.write("\t".join(map(_plain, row)) + "\n")
            return
        shown = self._fitting(console.width)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), expand=False)
        for column in shown:
            # Only the last column gives way: it is the one with sentences.
            least = None if column == shown[-1] else self._width(column)
            table.add_column(self.headings[column], no_wrap=True, overflow="ellipsis", min_width=least)
        for row in self.rows:
            # A cell that holds text of others is no markup.
            table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in (row[c] for c in shown)))
        console.print(table)

    def _fitting(self, columns: int) -> Sequence[int]:
        """Return the columns that are shown: at the least, all that are never given up."""
        shown = list(range(len(self.headings)))
        for name in self.given_up:
            # The last column can be cut and counts with what is kept of it at the least.
            widths = [self._width(column) + GAP for column in shown]
            if sum(widths[:-1]) + min(self._width(shown[-1]), LAST_COLUMN) <= columns:
                break
            shown.remove(self.headings.index(name))
        return shown

    def _width(self, column: int) -> int:
        return max(len(self.headings[column]), *(len(_plain(row[column])) for row in self.rows), 0)


def print_facts(console: Console, facts: Sequence[tuple[str, str | Text]]) -> None:
    """Print names and values: beside each other on a terminal, a tab between them elsewhere."""
    if not console.is_terminal:
        for name, value in facts:
            line = "; ".join(_plain(value).splitlines())
            console.file.write(f"{name}\t{line}\n")
        return
    table = Table.grid(padding=(0, GAP, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name, "dim"), value if isinstance(value, Text) else Text(value))
    console.print(table)


def _plain(cell: str | Text) -> str:
    return cell.plain if isinstance(cell, Text) else cell
