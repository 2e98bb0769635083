"""What a person sees on a terminal of 80 columns: no line is wrapped, no word broken, and names stand for keys."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console
from typer.testing import Result

from orchestrator.api.ports.changes import GroupStanding, MemberStanding
from orchestrator.membership.model import State
from tests.fakes.http_api import GROUP, KEYS, FakeEvent, FakeParts, make_change, make_parked_change

Run = Callable[..., Result]

COLUMNS = 80
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is a terminal of 80 columns."""

    def console() -> Console:
        return Console(highlight=False, force_terminal=True, width=COLUMNS, color_system=None)

    for module in ("display.output", "verbs.views", "verbs.operate", "verbs.plan", "display.live_progress"):
        monkeypatch.setattr(f"orchestrator.cli.{module}.stdout_console", console)
    for module in (
        "display.output",
        "verbs.views",
        "verbs.operate",
        "verbs.plan",
        "display.live_progress",
        "verbs.requests",
    ):
        monkeypatch.setattr(f"orchestrator.cli.{module}.on_terminal", lambda: True)


@pytest.fixture
def known(parts: FakeParts) -> FakeParts:
    """Two named members, a named group with a parked change, and a group that only the nodes know."""
    parts.nodes |= {"member1": (KEYS[0],), "member2": (KEYS[1],)}
    parts.names.given["trade"] = GROUP
    members = tuple(
        MemberStanding(
            enclave_key=key,
            node=f"member{n}",
            head=1200 + n,
            exists=True,
            version="0x" + "12" * 32,
            state_root="0x" + "34" * 32,
        )
        for n, key in enumerate(KEYS[:2], start=1)
    )
    parts.groups.known[GROUP] = GroupStanding(
        privacy_group_id=GROUP, block_number=1201, participants=KEYS[:2], locked=False, members=members, in_sync=True
    )
    other = "Z" + GROUP[1:]
    parts.groups.known[other] = GroupStanding(privacy_group_id=other, participants=KEYS, managed=False)
    ids = ("01a2160d4627342b5f6a68a998b0fa4b", "01a2160d2eaf342b5f6a68a998b0fa4b")
    parts.record.stored[ids[1]] = make_change(ids[1], members=KEYS[:2])
    parts.record.stored[ids[0]] = replace(make_parked_change(ids[0]), lead_id=ids[0])
    return parts


def seen(result: Result) -> list[str]:
    lines = [line.rstrip() for line in STYLE.sub("", result.stdout).splitlines()]
    assert max(map(len, lines), default=0) <= COLUMNS
    return lines


@pytest.mark.usefixtures("terminal", "known")
def test_groups_fit(run: Run) -> None:
    """A group is a line with its name, or the beginning of its id, and its members by name; columns give way."""
    assert seen(run("groups")) == [
        "group        members                        locked    note",
        "trade        member1, member2               no",
        "ZAbelwaVW7…  member1, member2, 1iTZde/ndB…  not seen  not managed yet",
    ]


@pytest.mark.usefixtures("terminal", "known")
def test_a_group_fits(run: Run) -> None:
    """A group shows its whole id, its name, and how each member's node stands."""
    assert seen(run("groups", "trade")) == [
        f"group          {GROUP}",
        "name           trade",
        "locked         no",
        "version        ?",
        "members agree  yes",
        "unfinished     none",
        "",
        "Members",
        "member   node     head  has it  state root",
        "member1  member1  1201  yes     0x343434343434…",
        "member2  member2  1202  yes     0x343434343434…",
    ]


@pytest.mark.usefixtures("terminal", "known")
def test_changes_fit(run: Run) -> None:
    """A change is a line with the verb that asked for it and the reason that it rests for."""
    lines = [re.sub(r"\d+ d ago", "N d ago", line) for line in seen(run("changes"))]
    assert [re.sub(r"  +", "  ", line) for line in lines] == [
        "change  kind  group  members  state  asked  why",
        "01a2160d4627  add  trade  1iTZde/ndB…  parked  N d ago  member_missing",
        "01a2160d2eaf  add  trade  member1, member2  queued  N d ago",
    ]


@pytest.mark.usefixtures("terminal", "known")
def test_a_change_fits_and_says_what_to_type(run: Run) -> None:
    """A parked change says why, what to do, and the commands for it, with names in place of ids."""
    lines = seen(run("show", "01a2160d4627"))
    shown = " ".join(" ".join(lines).split())
    for said in (
        "why member missing: ",
        "what to do The member's node lost the group: remove the member and add it again.",
        f"orchestrator remove trade {KEYS[2]}",
        "orchestrator retry 01a2160d4627342b5f6a68a998b0fa4b",
        "1iTZde/ndB… missing 3 of 8 blocks",
    ):
        assert said in shown


@pytest.mark.usefixtures("terminal", "known")
def test_an_event_is_one_line(run: Run, parts: FakeParts) -> None:
    """A status event takes one line, which ends between two words where it would be longer."""
    progress = [{"member": key, "verdict": "in_sync", "blocks_replayed": 9, "blocks_total": 9} for key in KEYS]
    document = {
        "type": "membership.change.progressed.v1",
        "subject": GROUP,
        "time": "2024-11-05T12:00:00Z",
        "data": {"kind": "add_members", "state": "replaying", "progress": progress},
    }
    parts.feed.events.append(FakeEvent(resume_id="7", event_type=document["type"], text=json.dumps(document)))  # type: ignore[arg-type] # its type is text
    parts.feed.closed = "the daemon stops"
    assert seen(run("watch", "--since", "0")) == [
        "7 12:00:00  progressed  trade  add replaying  member1 in sync 9/9  member2 in…"
    ]


@pytest.mark.usefixtures("terminal", "known")
def test_an_addition_ends_with_its_display(run: Run, parts: FakeParts) -> None:
    """`create` draws its progress by name and prints the new group's id last."""
    parts.record.coming.append({"state": State.SUCCEEDED})
    lines = seen(run("create", "member1", "member2", "--name", "loans"))
    assert lines[-1] == f"group {GROUP}"
    assert any(line.startswith("create group succeeded") for line in lines)


@pytest.mark.parametrize("verb", ["groups", "changes"])
def test_no_color_takes_every_style_away(
    run: Run, known: FakeParts, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """With NO_COLOR a terminal gets neither colour nor bold nor dim."""
    from orchestrator.cli.display import output  # noqa: PLC0415 - its parts are replaced below

    for module in ("display.output", "verbs.views"):
        monkeypatch.setattr(f"orchestrator.cli.{module}.on_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert output.stdout_console().color_system is None
    assert not STYLE.search(run(verb).stdout)
