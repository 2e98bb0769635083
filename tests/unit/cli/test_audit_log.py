"""`orchestrator audit-log`."""

import json

from orchestrator.access.audit import Action, entry_by
from orchestrator.access.callers import Door, anyone
from tests.fakes.http_api import FakeParts
from tests.unit.cli.conftest import Run


def filled(parts: FakeParts, number: int) -> None:
    parts.audit.entries += [
        entry_by(anyone(Door.HTTP), Action.CANCEL, 1_700_000_000_000_000 + place, reason="why \x1b[31m")
        for place in range(number)
    ]


def test_the_log_is_listed_exported_and_verified(run: Run, parts: FakeParts) -> None:
    """A list for a person, JSON lines for a machine, and the newest hash to note."""
    assert "no entry" in run("audit-log", "list").stderr
    filled(parts, 3)
    listed = run("audit-log", "list", "--limit", "2").stdout
    assert listed.count("cancel") == 2
    assert "\x1b" not in listed
    lines = [json.loads(line) for line in run("audit-log", "export").stdout.splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3]
    noted = f"3:{lines[-1]['entry_hash']}"
    assert noted in run("audit-log", "verify").stdout
    assert run("audit-log", "verify", "--expect", noted, "--expect", f"1:{lines[0]['entry_hash']}").exit_code == 0
    assert json.loads(run("audit-log", "verify", "--json").stdout)["entries"] == 3


def test_what_was_cut_off_or_made_anew_is_told(run: Run, parts: FakeParts) -> None:
    """A log that is unbroken and is not the one that was noted ends with 1."""
    filled(parts, 3)
    noted = f"3:{json.loads(run('audit-log', 'export').stdout.splitlines()[-1])['entry_hash']}"
    last = parts.audit.entries.pop()
    cut = run("audit-log", "verify", "--expect", noted)
    assert (cut.exit_code, "is gone" in cut.stderr) == (1, True)
    parts.audit.entries += [entry_by(anyone(Door.QUEUE), Action.ASK, last.at)]
    anew = run("audit-log", "verify", "--expect", noted)
    assert (anew.exit_code, "another hash" in anew.stderr) == (1, True)
    assert run("audit-log", "verify", "--expect", "newest").exit_code == 2
