"""An operator's verbs."""

import json
from collections.abc import Callable

from typer.testing import Result

from orchestrator.engine.ports.store import StoreError
from orchestrator.membership.model import State
from tests.fakes.http_api import FakeParts, Letter, make_change, make_parked_change

Run = Callable[..., Result]


def test_a_parked_change_is_retried(run: Run, parts: FakeParts) -> None:
    """`retry` queues a parked change again."""
    parts.record.stored["change-1"] = make_parked_change()
    result = run("retry", "change-1")
    assert (result.exit_code, result.stdout.strip()) == (0, "change-1 queued")
    assert parts.record.stored["change-1"].state is State.QUEUED


def test_a_queued_change_is_cancelled(run: Run, parts: FakeParts) -> None:
    """`cancel` ends a queued change; once more it is refused with 1, since nothing leaves an end."""
    parts.record.stored["change-1"] = make_change()
    assert json.loads(run("cancel", "change-1", "--json").stdout)["state"] == "cancelled"
    again = run("cancel", "change-1")
    assert again.exit_code == 1
    assert "The change is cancelled; one that has ended" in again.stderr


def test_a_store_that_is_away_is_told(run: Run, parts: FakeParts) -> None:
    """While the daemon's store is away a verb ends with 1 and says to ask again."""
    parts.record.failure = StoreError("away")
    result = run("changes")
    assert result.exit_code == 1
    assert "Ask again" in result.stderr


def test_dead_letters_are_listed_and_replayed(run: Run, parts: FakeParts) -> None:
    """`dead-letters` shows each with its reason; `--replay` puts it back."""
    for number in ("7", "8"):
        parts.dead_letters.letters[number] = Letter(letter_id=number, reason="no [JSON]", body=b"{")
    assert "no [JSON]" in run("dead-letters").stdout
    assert len(json.loads(run("dead-letters", "--json").stdout)["dead_letters"]) == 2
    assert run("dead-letters", "--replay", "7", "--replay", "8").exit_code == 0
    assert parts.dead_letters.letters == {}
    assert run("dead-letters", "--replay", "7").exit_code == 2
