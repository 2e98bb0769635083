"""`orchestrator audit-log`."""

import json
from pathlib import Path

from orchestrator.access.audit import Action, chained, entry_by
from orchestrator.access.audit_chain import archived_entry
from orchestrator.access.callers import Door, anyone
from tests.fakes.clock import START
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
    assert [entry["number"] for entry in json.loads(run("audit-log", "list", "--json").stdout)["entries"]] == [1, 2, 3]
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


def test_archives_are_verified_with_the_rest(run: Run, parts: FakeParts, tmp_path: Path) -> None:
    """Files in any order, a line that was cut off and entries twice; what is only in an archive is looked for there."""
    filled(parts, 5)
    lines = run("audit-log", "export").stdout.splitlines()
    hashes = [json.loads(line)["entry_hash"] for line in lines]
    parts.audit.entries.append(archived_entry(4, hashes[3], START))
    parts.audit.first = 4
    later = tmp_path / "audit-2026-01-01-1.jsonl"  # by its name it would be read first
    earlier = tmp_path / "audit-2026-01-02-1.jsonl"
    earlier.write_text("\n".join(lines[:2]) + '\n{"number": 3, "at"\n')
    later.write_text("\n".join(lines[1:4]) + "\n")
    assert run("audit-log", "verify", str(tmp_path)).stdout.startswith("6 entries, unbroken")
    assert run("audit-log", "verify", str(later), str(earlier), "--expect", f"2:{hashes[1]}").exit_code == 0
    alone = run("audit-log", "verify")
    assert alone.stdout.startswith("2 entries, from 5 on, unbroken")
    assert "was archived" in run("audit-log", "verify", "--expect", f"2:{hashes[1]}").stderr
    later.write_text("\n".join(lines[2:3]) + "\n")
    broken = run("audit-log", "verify", str(tmp_path))
    assert (broken.exit_code, "entry 4 is missing" in broken.stderr) == (1, True)
    (forged,) = chained([entry_by(anyone(Door.HTTP), Action.ASK, 1)], 3, hashes[2])
    wrong = json.loads(lines[3]) | {"about": "x", "entry_hash": forged.entry_hash}
    later.write_text("\n".join([*lines[1:3], json.dumps(wrong)]) + "\n")
    changed = run("audit-log", "verify", str(tmp_path))
    assert (changed.exit_code, "its hash is another one" in changed.stderr) == (1, True)
