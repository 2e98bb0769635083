"""The live display of a change on a terminal."""

import io
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console

from orchestrator.api.documents.changes import change_document
from orchestrator.cli.display.live_progress import LiveDisplay
from orchestrator.cli.display.words import Words
from orchestrator.membership.model import MemberProgress, State, Verdict
from tests.fakes.http_api import KEYS, make_change, make_parked_change


def drawn(*changes: object) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    with LiveDisplay(console, Words()) as display:
        for change in changes:
            display.update(change)  # type: ignore[arg-type] # documents, as they come from the API
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_bar_is_drawn_for_each_member() -> None:
    """A replay is a bar with blocks replayed of blocks to replay, beside the change's state."""
    entry = MemberProgress(
        enclave_key=KEYS[2],
        verdict=Verdict.REPLAYING,
        blocks_replayed=10,
        blocks_total=40,
        head=52,
        moved_at=datetime.now(UTC),
    )
    change = replace(make_change(), state=State.REPLAYING, progress=(entry,))
    text = drawn(change_document(change))
    assert "add members replaying" in text
    assert "10 of 40" in text
    assert "━" in text


def test_the_reason_is_shown() -> None:
    """A change that needs a person shows what to do."""
    assert "remove the member and add it again" in drawn(change_document(make_parked_change()))
