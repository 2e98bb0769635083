"""Asking for changes from the command line, and following them to their end."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestrator.api.ports.changes import GroupStanding
from orchestrator.cli.main import app
from orchestrator.membership.model import Kind, MemberProgress, State, Verdict
from orchestrator.membership.reasons.table import Reason
from tests.fakes.http_api import ACCOUNT, GROUP, GROUP_IN_PATH, KEYS, NOW, FakeParts

HASH = "0x" + "12" * 32

Run = Callable[..., Result]


def progress(replayed: int, verdict: Verdict = Verdict.REPLAYING) -> tuple[MemberProgress, ...]:
    return (
        MemberProgress(
            enclave_key=KEYS[2], verdict=verdict, blocks_replayed=replayed, blocks_total=40, head=52, moved_at=NOW
        ),
    )


@pytest.mark.parametrize(
    ("arguments", "kind", "members"),
    [
        (["create", KEYS[0], KEYS[1], "--group", GROUP], Kind.CREATE_GROUP, KEYS[:2]),
        (["add", GROUP, KEYS[2]], Kind.ADD_MEMBERS, KEYS[2:]),
        (["remove", GROUP, KEYS[2]], Kind.REMOVE_MEMBERS, KEYS[2:]),
        (["set", GROUP, *KEYS], Kind.SET_MEMBERS, KEYS),
        (["unlock", GROUP], Kind.UNLOCK_GROUP, ()),
        (["cure", GROUP, KEYS[2], "--transaction", HASH, "--reason", "split"], Kind.CURE_GROUP, KEYS[2:]),
    ],
)
def test_each_verb_asks_for_its_kind(
    run: Run, parts: FakeParts, arguments: list[str], kind: Kind, members: tuple[str, ...]
) -> None:
    """A verb becomes one request of its kind, with the options that were given."""
    result = run(*arguments, "--account", ACCOUNT, "--no-wait")
    assert result.exit_code == 0
    (change,) = parts.record.stored.values()
    assert (change.kind, change.privacy_group_id, change.members) == (kind, GROUP, members)
    assert result.stdout.strip() == (GROUP if kind is Kind.CREATE_GROUP else change.change_id)
    assert change.change_id in result.stderr


@pytest.mark.parametrize(
    ("state", "code"), [(State.SUCCEEDED, 0), (State.FAILED, 1), (State.CANCELLED, 1), (State.PARKED, 3)]
)
def test_the_exit_code_tells_how_it_ended(run: Run, parts: FakeParts, state: State, code: int) -> None:
    """A verb that waits ends with 0 for done, 1 for failed or cancelled, 3 for parked."""
    reason = None if state is State.SUCCEEDED else Reason(slug="member_missing", detail=KEYS[2])
    parts.record.coming.append({"state": state, "reason": reason})
    result = run("add", GROUP, KEYS[2])
    assert result.exit_code == code
    assert state.value in result.stderr
    assert result.stdout.strip() == "change-1"


def test_progress_is_told_in_lines(run: Run, parts: FakeParts) -> None:
    """Off a terminal each step and each move of a replay is one plain line on standard error, and none comes twice."""
    parts.record.coming += [
        {"state": State.LOCKING},
        {"state": State.REPLAYING, "progress": progress(10)},
        {"state": State.REPLAYING, "progress": progress(10)},
        {"state": State.REPLAYING, "progress": progress(30)},
        {"state": State.SUCCEEDED, "progress": progress(40, Verdict.IN_SYNC)},
    ]
    result = run("add", GROUP, KEYS[2])
    lines = [
        line.replace("change-1 add members ", "").replace(KEYS[2], "member") for line in result.stderr.splitlines()
    ]
    assert [line.partition(", about")[0] for line in lines] == [
        "queued",
        "locking",
        "replaying",
        "  member replaying, 10 of 40 blocks replayed",
        "  member replaying, 30 of 40 blocks replayed",
        "succeeded",
        "  member in sync, 40 of 40 blocks replayed",
    ]


def test_json_is_one_document(run: Run, parts: FakeParts) -> None:
    """With --json the only output is the change as it ended."""
    parts.record.coming += [{"state": State.LOCKING}, {"state": State.SUCCEEDED}]
    result = run("add", GROUP, KEYS[2], "--json")
    document: dict[str, Any] = json.loads(result.stdout)
    assert (document["change_id"], document["state"]) == ("change-1", "succeeded")


def test_asking_again_is_the_same_change(run: Run, parts: FakeParts) -> None:
    """The same request under the same --request-id is one change."""
    for _ in range(2):
        assert run("add", GROUP, KEYS[2], "--request-id", "mine", "--no-wait").exit_code == 0
    assert [change.request_id for change in parts.record.stored.values()] == ["mine"]


def test_a_wrong_request_is_wrong_usage(run: Run, parts: FakeParts) -> None:
    """What can't be meant ends with 2, every mistake on a line of its own; nothing is asked for."""
    parts.nodes["member1"] = (KEYS[0],)
    result = run("add", "short", "nobody", KEYS[2], KEYS[2], "member1")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert any("there is no group short" in line for line in lines)
    assert any("'nobody' is no member: give a node's name (member1)" in line for line in lines)
    assert any(f"{KEYS[2]} is named more than once" in line for line in lines)
    assert parts.record.stored == {}


def test_members_and_groups_are_named(run: Run, parts: FakeParts) -> None:
    """A node's name stands for its member, a group's name or a unique beginning of its id for the group."""
    parts.nodes |= {"member1": (KEYS[0],), "member3": (KEYS[2],)}
    parts.groups.known[GROUP] = GroupStanding(privacy_group_id=GROUP)
    made = run("create", "member1", KEYS[1][:8], KEYS[1], "--group", GROUP, "--name", "trade", "--no-wait")
    assert "is no member" in made.stderr
    made = run("create", "member1", KEYS[1], "--group", GROUP, "--name", "trade", "--no-wait")
    assert (made.exit_code, made.stdout.strip(), parts.names.given) == (0, GROUP, {"trade": GROUP})
    for group in ("trade", GROUP[:6], GROUP[:10] + "…", GROUP_IN_PATH):
        assert run("add", group, "member3", "--no-wait").exit_code == 0
    changes = list(parts.record.stored.values())
    assert [change.members for change in changes] == [KEYS[:2], *[KEYS[2:]] * 4]
    assert {change.privacy_group_id for change in changes} == {GROUP}


def test_a_name_stands_for_one_group(run: Run, parts: FakeParts) -> None:
    """A name that is taken, or can't be one, is refused before a group is made."""
    parts.nodes["member1"] = (KEYS[0],)
    parts.names.given["trade"] = GROUP
    for name in ("trade", "member1", "-x", "a" * 41):
        result = run("create", KEYS[0], KEYS[1], f"--name={name}", "--no-wait")
        assert (result.exit_code, "--name" in result.stderr) == (2, True)
    assert parts.record.stored == {}


def test_ctrl_c_says_that_it_goes_on(run: Run, parts: FakeParts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops following gets 130, and the command that goes on following."""

    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.cli.display.live_progress.follow", interrupted)
    result = run("add", GROUP, KEYS[2])
    assert result.exit_code == 130
    assert "it goes on; follow it with: orchestrator watch change-1" in result.stderr
    assert len(parts.record.stored) == 1


def test_a_conflict_is_a_failure(run: Run) -> None:
    """Another request under a known id ends with 1: it is valid, but not done."""
    run("add", GROUP, KEYS[2], "--request-id", "mine", "--no-wait")
    assert run("add", GROUP, KEYS[1], "--request-id", "mine", "--no-wait").exit_code == 1


def test_a_missing_daemon_is_told() -> None:
    """Without a daemon the error says what to start and how to name another address."""
    result = CliRunner().invoke(app, ["add", GROUP, KEYS[2], "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "orchestrator run" in result.stderr
    assert "--url" in result.stderr
