"""Asking for changes from the command line, and following them to their end."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli.main import app
from orchestrator.membership.model import Kind, MemberProgress, State, Verdict
from orchestrator.membership.reasons import Reason
from tests.fakes.http_api import ACCOUNT, GROUP, KEYS, NOW, FakeParts

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
    assert change.change_id in result.stdout


@pytest.mark.parametrize(
    ("state", "code"), [(State.SUCCEEDED, 0), (State.FAILED, 1), (State.CANCELLED, 1), (State.PARKED, 3)]
)
def test_the_exit_code_tells_how_it_ended(run: Run, parts: FakeParts, state: State, code: int) -> None:
    """A verb that waits ends with 0 for done, 1 for failed or cancelled, 3 for parked."""
    reason = None if state is State.SUCCEEDED else Reason(slug="member_missing", detail=KEYS[2])
    parts.record.coming.append({"state": state, "reason": reason})
    result = run("add", GROUP, KEYS[2])
    assert result.exit_code == code
    assert state.value in result.stdout


def test_progress_is_told_in_lines(run: Run, parts: FakeParts) -> None:
    """Off a terminal each step and each move of a replay is one plain line, and no line comes twice."""
    parts.record.coming += [
        {"state": State.LOCKING},
        {"state": State.REPLAYING, "progress": progress(10)},
        {"state": State.REPLAYING, "progress": progress(10)},
        {"state": State.REPLAYING, "progress": progress(30)},
        {"state": State.SUCCEEDED, "progress": progress(40, Verdict.IN_SYNC)},
    ]
    result = run("add", GROUP, KEYS[2])
    lines = [
        line.replace("change-1 add members ", "").replace(KEYS[2], "member") for line in result.stdout.splitlines()
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
    """What the daemon refuses as not valid ends with 2 and names the field; nothing is asked for."""
    result = run("add", "short", KEYS[2])
    assert result.exit_code == 2
    assert "privacy_group_id" in result.stderr
    assert parts.record.stored == {}


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
