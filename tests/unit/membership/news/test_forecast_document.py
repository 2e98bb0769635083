"""A forecast as others see it."""

from dataclasses import replace

from orchestrator.api.documents.forecasts import ForecastDocument
from orchestrator.membership.forecast.verdict import Outlook, Scope
from orchestrator.membership.news.forecast_document import forecast_data, verdict_of
from tests.fakes.forecasts import a_safe_forecast, an_unsafe_forecast
from tests.fakes.http_api import KEYS


def test_a_safe_forecast_says_yes() -> None:
    """Yes, the sender, and what there is to replay."""
    document = ForecastDocument.model_validate(forecast_data(a_safe_forecast()))
    assert document.verdict.startswith("yes")
    assert document.sender is not None
    assert [(member.outlook, member.blocks_to_replay) for member in document.members] == [(Outlook.SAFE, 40)]


def test_an_unsafe_forecast_says_why_and_what_to_do() -> None:
    """No, because of the block, with the one remedy that works."""
    said = verdict_of(an_unsafe_forecast())
    assert said.startswith("no, because of block not replayable: block 8")
    assert "Make a new group" in said


def test_what_passes_is_no_for_now() -> None:
    """A danger of the moment says that it is one."""
    assert verdict_of(an_unsafe_forecast("newcomer_busy", Scope.MOMENT)).startswith("no now, because")


def test_what_can_not_be_seen_is_neither_yes_nor_no() -> None:
    """Without dangers and with blind spots the verdict says so, and a member is unknown when it is about it."""
    unseen = replace(an_unsafe_forecast(), dangers=())
    document = ForecastDocument.model_validate(forecast_data(unseen))
    assert "not everything can be seen from here" in document.verdict
    about = replace(unseen, unseen=tuple(replace(entry, enclave_key=KEYS[2]) for entry in unseen.unseen))
    assert ForecastDocument.model_validate(forecast_data(about)).members[0].outlook is Outlook.UNKNOWN
