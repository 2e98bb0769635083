"""Forecasts on the command line."""

import json
from collections.abc import Callable
from unittest.mock import patch

import pytest
from typer.testing import Result

from orchestrator.api.ports.forecasts import UnforeseenError
from orchestrator.membership.forecast.verdict import Forecast, Scope
from orchestrator.membership.model import State
from orchestrator.membership.reasons.table import Reason
from tests.fakes.forecasts import (
    OTHER_GROUP,
    a_closed_way,
    a_removal,
    a_safe_forecast,
    an_unsafe_forecast,
    some_durations,
)
from tests.fakes.http_api import GROUP, KEYS, FakeParts

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (a_safe_forecast(), 0),
        (an_unsafe_forecast(), 3),
        (an_unsafe_forecast("history_not_read", Scope.MOMENT), 1),
    ],
)
def test_the_exit_code_tells_what_the_daemon_would_do(run: Run, parts: FakeParts, found: Forecast, code: int) -> None:
    """0 when nothing speaks against it, 1 when only waiting helps, 3 when it would be parked."""
    parts.forecasts.found = found
    result = run("plan", "add", GROUP, KEYS[2])
    assert result.exit_code == code
    assert "40 blocks to replay" in result.stdout


def test_a_plan_names_block_sender_risk_and_what_is_not_seen(run: Run, parts: FakeParts) -> None:
    """Everything that a person needs is in lines: the verdict with its remedy first, transactions on demand."""
    parts.forecasts.found = an_unsafe_forecast()
    short, long = run("plan", "add", GROUP, KEYS[2]), run("plan", "add", GROUP, KEYS[2], "--transactions")
    assert short.stdout.startswith("forecast at block 52: no, because of block not replayable: block 8")
    for said in (f"sent by {KEYS[0]} on member1", "risk: in block 11", f"not seen: {KEYS[1]}: it does not answer"):
        assert said in short.stdout
    assert "0xt1" not in short.stdout
    assert "transaction 0xt1" in long.stdout


def test_a_plan_says_how_long_it_takes_and_how_sure_that_is(run: Run, parts: FakeParts) -> None:
    """Lock, replay, blocks behind and size of the history; what rests on few additions is called rough."""
    parts.forecasts.found, parts.forecasts.durations = a_safe_forecast(), some_durations()
    lines = run("plan", "add", GROUP, KEYS[2]).stdout.splitlines()
    assert "  history: 2,000 transactions, 0.7 MiB or more in the enclave" in lines
    assert "  the group is locked for about 4 s (3 s to 4 s), by 3 additions measured there" in lines
    assert (
        f"  {KEYS[2]} replays for about 7 s (5 s to 15 s), roughly: 0 of 3 additions were measured there; "
        "its node falls up to 16 blocks behind the head"
    ) in lines


def test_a_plan_says_what_preflight_says(run: Run, parts: FakeParts) -> None:
    """What keeps the addition from beginning now is told, though no replay would go wrong."""
    parts.forecasts.found = a_safe_forecast()
    parts.forecasts.preflight = Reason(slug="locked_by_other", detail="still locked at block 52")
    assert "it would not begin now: " in run("plan", "add", GROUP, KEYS[2]).stdout


def test_a_plan_is_json_on_demand(run: Run, parts: FakeParts) -> None:
    """With --json the document of the API is the only output."""
    parts.forecasts.found = a_safe_forecast()
    assert json.loads(run("plan", "add", GROUP, KEYS[2], "--json").stdout)["outlook"] == "safe"


def test_a_plan_that_can_not_be_made_says_why(run: Run, parts: FakeParts) -> None:
    """When the nodes don't answer the verb fails with their reason."""
    parts.forecasts.failure = UnforeseenError("node m1 does not answer", passing=True)
    result = run("plan", "add", GROUP, KEYS[2])
    assert (result.exit_code, "node m1 does not answer" in result.stderr) == (1, True)


def test_add_shows_the_forecast_on_a_terminal(run: Run, parts: FakeParts) -> None:
    """On a terminal the forecast comes before the change; without one the change is asked for all the same."""
    parts.forecasts.found = a_safe_forecast()
    parts.record.coming.append({"state": State.SUCCEEDED})
    with patch("orchestrator.cli.verbs.requests.on_terminal", return_value=True):
        result = run("add", GROUP, KEYS[2], "--no-wait")
        parts.forecasts.found = None
        unforeseen = run("add", GROUP, KEYS[1], "--no-wait")
    assert result.stdout.startswith("forecast at block 52: yes")
    assert "no forecast: No configured node shows the group" in unforeseen.stderr
    assert len(parts.record.stored) == 2
    assert "forecast" not in run("add", GROUP, KEYS[2], "--no-wait").stdout


def test_a_plan_warns_of_a_way_back_that_the_addition_closes(run: Run, parts: FakeParts) -> None:
    """It names the member, the group that its node left, and why; it refuses nothing."""
    parts.forecasts.found = a_safe_forecast()
    parts.forecasts.returns = a_closed_way()
    result = run("plan", "add", GROUP, KEYS[2])
    assert result.exit_code == 0
    assert (
        f"  warning: {KEYS[2]} can't return to group {OTHER_GROUP} after it: node member3 left it in" in result.stdout
    )
    assert json.loads(run("plan", "add", GROUP, KEYS[2], "--json").stdout)["returns"][0]["left_block"] == 7


def test_a_plan_of_a_removal_says_whether_it_can_be_undone(run: Run, parts: FakeParts) -> None:
    """0 and what keeps the way back open; 3 and the reason where there is none; a closed block is named in both."""
    parts.forecasts.leaving = a_removal(closed=True)
    result = run("plan", "remove", GROUP, KEYS[2])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"after a removal of {KEYS[2]}: yes: they can be added again, as it is now.")
    assert "warning: no node can replay block 8 of the group" in result.stdout
    parts.forecasts.leaving = a_removal(refused=Reason(slug="contract_of_other_version", detail="it speaks bytes32[]"))
    result = run("plan", "remove", GROUP, KEYS[2])
    assert result.exit_code == 3
    assert "no: they could not be added again as it is now, because of contract of other version" in result.stdout


def test_remove_says_on_a_terminal_whether_it_can_be_undone(run: Run, parts: FakeParts) -> None:
    """On a terminal that comes before the change is asked for."""
    parts.forecasts.leaving = a_removal()
    with patch("orchestrator.cli.verbs.requests.on_terminal", return_value=True):
        assert "yes: they can be added again" in run("remove", GROUP, KEYS[2], "--no-wait").stdout
