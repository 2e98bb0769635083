"""What outsiders wrote is nothing but text on a terminal."""

import io

from rich.console import Console

from orchestrator.api.documents.shared import DeadLetterDocument, DeadLetterPage
from orchestrator.cli.display.tables import dead_letters_listing


def test_a_dead_letter_moves_no_cursor() -> None:
    """Escape sequences and marks of direction in a message, its reason or its id do not reach the terminal."""
    hostile = "\x1b]0;title\x07\x1b[2J\u202e[bold]x[/bold]"
    page = DeadLetterPage(dead_letters=[DeadLetterDocument(letter_id=hostile, reason=hostile, body=hostile)])
    shown = io.StringIO()
    dead_letters_listing(page).print_on(Console(file=shown, width=200, force_terminal=True, color_system=None))
    assert not set(shown.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")) & {"\x1b", "\x07", "\u202e"}
    assert "[bold]x" in shown.getvalue()
