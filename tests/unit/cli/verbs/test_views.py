"""Looking at groups, changes and events from the command line."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from orchestrator.api.ports.changes import GroupStanding, MemberStanding
from orchestrator.cli.display.event_lines import event_line
from tests.fakes.http_api import GROUP, KEYS, RAW, FakeEvent, FakeParts, make_change, make_parked_change

Run = Callable[..., Result]


def test_show_explains_why(run: Run, parts: FakeParts) -> None:
    """`show` says what the change waits for, what to do about it, how each member stands and what was sent."""
    parts.record.stored["change-1"] = make_parked_change()
    result = run("show", "change-1")
    assert result.exit_code == 0
    for said in ("parked", "member missing", "remove the member and add it again", "3 of 8", "0x" + "cd" * 32, "add"):
        assert said in result.stdout
    assert RAW.hex() not in result.stdout


def test_show_has_json(run: Run, parts: FakeParts) -> None:
    """`show --json` prints the API's document."""
    parts.record.stored["change-1"] = make_parked_change()
    assert json.loads(run("show", "change-1", "--json").stdout)["reason"]["slug"] == "member_missing"


def test_an_unknown_change_is_wrong_usage(run: Run) -> None:
    """`show` of a change that there is not ends with 2."""
    assert run("show", "nothing").exit_code == 2


def test_changes_are_listed(run: Run, parts: FakeParts) -> None:
    """`changes` lists changes with their state; filters are handed on; a wrong filter is wrong usage."""
    parts.record.stored["a"] = make_change("a")
    parts.record.stored["b"] = make_parked_change("b")
    assert "member_missing" in run("changes").stdout
    page = json.loads(run("changes", "--state", "parked", "--group", GROUP, "--json").stdout)
    assert [change["change_id"] for change in page["changes"]] == ["b"]
    assert run("changes", "--state", "done").exit_code == 2


def test_groups_are_listed(run: Run, parts: FakeParts) -> None:
    """`groups` lists groups; with a group it shows each member's node, head and root."""
    parts.groups.known[GROUP] = GroupStanding(
        privacy_group_id=GROUP,
        block_number=12,
        participants=KEYS[:2],
        locked=True,
        in_sync=True,
        members=(
            MemberStanding(enclave_key=KEYS[0], node="member1", head=12, exists=True, state_root="0x34"),
            MemberStanding(enclave_key=KEYS[1]),
        ),
    )
    assert GROUP in run("groups").stdout
    one = run("groups", GROUP).stdout
    assert "member1" in one
    assert "(no access)" in one
    assert json.loads(run("groups", GROUP, "--json").stdout)["locked"] is True
    assert json.loads(run("groups", "--json").stdout)["groups"][0]["privacy_group_id"] == GROUP


def accepted() -> dict[str, Any]:
    return {
        "type": "membership.change.accepted.v1",
        "subject": GROUP,
        "time": "2024-11-05T12:00:00Z",
        "data": {"kind": "add_members", "state": "queued", "change_id": "change-1"},
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_watch_prints_events(run: Run, parts: FakeParts, as_json: bool) -> None:
    """`watch` prints each event as it comes, as a line or as JSON, and says why when the daemon ends the stream."""
    document = accepted()
    parts.feed.events.append(FakeEvent(resume_id="7", event_type=document["type"], text=json.dumps(document)))
    parts.feed.closed = "the daemon stops"
    result = run("watch", GROUP, "--since", "0", "--type", "accepted", *(["--json"] if as_json else []))
    assert result.exit_code == 1
    assert "the daemon stops" in result.stderr
    if as_json:
        assert json.loads(result.stdout) == document
    else:
        assert result.stdout.startswith("7 12:00:00  accepted")
    assert parts.feed.asked[0]["privacy_group_id"] == GROUP
    assert parts.feed.asked[0]["resume_id"] == "0"
    assert parts.feed.asked[0]["types"] == ("membership.change.accepted.v1",)


def test_watch_follows_a_change_to_its_end(run: Run, parts: FakeParts) -> None:
    """`watch` of a change ends when it rests, with the exit code of how it ended."""
    parts.record.stored["change-1"] = make_parked_change()
    result = run("watch", "change")
    assert (result.exit_code, "member missing" in result.stderr) == (3, True)


def test_watch_knows_what_it_is_asked_for(run: Run) -> None:
    """A change, group or type that there is not is wrong usage, and all is told at once."""
    result = run("watch", "nothing", "--type", "ended", "--since", "x")
    assert result.exit_code == 2
    assert [word in result.stderr for word in ("neither a change nor a group", "--type: 'ended'", "--since")] == [
        True
    ] * 3


def test_lists_say_how_many_are_left(run: Run, parts: FakeParts) -> None:
    """A list that is cut off says how many there are and how to go on; empty ones say what to do."""
    assert "orchestrator create" in run("groups").stderr
    assert "orchestrator create" in run("changes").stderr
    for number in range(1, 4):
        parts.record.stored[f"change-{number}"] = make_change(f"change-{number}")
        group = f"{number}" + GROUP[1:]
        parts.groups.known[group] = GroupStanding(privacy_group_id=group, managed=number < 3)
    first = run("changes", "--limit", "2")
    assert first.stderr.strip() == "showing 2 of 3; go on with: orchestrator changes --before change-2"
    assert run("changes", "--before", "change-2").stdout.splitlines()[1].startswith("change-1\t")
    groups = run("groups", "--limit", "2")
    assert "showing 2 of 3; go on with: orchestrator groups --after 2" in groups.stderr
    rest = run("groups", "--after", "2" + GROUP[1:]).stdout.splitlines()
    assert (len(rest), rest[1].endswith("not managed yet")) == (2, True)


def test_nothing_is_padded_in_a_pipe(run: Run, parts: FakeParts) -> None:
    """Off a terminal fields stand between tabs, whole and without spaces around."""
    parts.record.stored["change-1"] = make_parked_change()
    heading, line = run("changes").stdout.splitlines()
    fields = line.split("\t")
    assert len(fields) == len(heading.split("\t"))
    assert fields[:3] == ["change-1", "add_members", GROUP]
    assert all(field == field.strip() for field in fields)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"block_number": 17, "locked_blocks": 1}, "block 17  locked for 1 blocks"),
        (
            {"progress": [{"member": KEYS[2], "verdict": "replaying", "blocks_replayed": 3, "blocks_total": 8}]},
            f"{KEYS[2]} replaying 3/8",
        ),
        ({"reason": {"message": "node unreachable. Start the node."}}, "node unreachable. Start the node."),
        ({"field": "data.members", "message": "must be a list"}, "data.members: must be a list"),
        (None, "accepted"),
        ("text", "accepted"),
    ],
)
def test_an_event_is_one_line(data: object, said: str) -> None:
    """A status event becomes one line with what matters in it, whatever a newer daemon put into its data."""
    line = event_line({**accepted(), "data": data})
    assert said in line
    assert "\n" not in line


def test_schema_prints_what_goes_over_the_queue(run: Run) -> None:
    """`schema` prints the AsyncAPI document, with a type that event's JSON Schema; an unknown type is wrong usage."""
    assert "asyncapi" in json.loads(run("schema").stdout)
    assert json.loads(run("schema", "membership.change.succeeded.v1").stdout)["type"] == "object"
    assert run("schema", "membership.change.done.v1").exit_code == 2
