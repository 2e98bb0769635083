"""``orchestrator webhooks`` and ``orchestrator attention``."""

import json
from collections.abc import Callable

from typer.testing import Result

from orchestrator.events.webhooks.control import WebhookStanding
from orchestrator.membership.news.attention import Need, Urgency
from tests.fakes.http_api import GROUP, NOW, FakeParts

Run = Callable[..., Result]


def test_webhooks_are_listed_and_steered(run: Run, parts: FakeParts) -> None:
    """Each verb does what it says, and an unknown name is a mistake of the command."""
    assert "no webhook is configured" in run("webhooks", "list").output
    parts.webhooks.known["erp"] = WebhookStanding(name="erp", address="https://e.example", position=7, behind=3)
    assert "erp" in run("webhooks", "list").stdout
    assert json.loads(run("webhooks", "list", "--json").stdout)["webhooks"][0]["behind"] == 3
    assert "erp stopped behind event 7, 3 to go" in run("webhooks", "pause", "erp").output
    assert "erp goes on" in run("webhooks", "resume", "erp").output
    assert "behind event 2" in run("webhooks", "redrive", "erp", "--after", "2").output
    assert run("webhooks", "redrive", "erp", "--after", "99").exit_code == 2
    assert run("webhooks", "pause", "other").exit_code == 2
    assert run("webhooks", "test", "erp").exit_code == 0
    parts.webhooks.taken = (False, "it answered 401")
    refused = run("webhooks", "test", "erp")
    assert (refused.exit_code, "not taken: it answered 401" in refused.output) == (1, True)


def test_what_needs_somebody_is_shown_with_its_commands(run: Run, parts: FakeParts) -> None:
    """Nothing to do ends with 0; what somebody has to act on or decide ends with 3, and can be copied."""
    assert (run("attention").exit_code, "nothing needs you" in run("attention").output) == (0, True)
    parts.overview.needs = (
        Need(
            slug="members_differ",
            urgency=Urgency.BROKEN,
            what="members show different states",
            remedy="Remove the member that differs.",
            since=NOW,
            privacy_group_id=GROUP,
            commands=("orchestrator audit",),
        ),
    )
    result = run("attention")
    assert result.exit_code == 3
    assert result.stdout.splitlines()[0] == "act now  members show different states"
    assert "  orchestrator audit" in result.stdout.splitlines()
    assert json.loads(run("attention", "--json").stdout)["needs"][0]["privacy_group_id"] == GROUP
