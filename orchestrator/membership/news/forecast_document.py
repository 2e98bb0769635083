"""A forecast as others see it: one document, for the API, the command line and status events. Pure."""

from collections.abc import Iterable

from orchestrator.membership.forecast.returns import WAY_BACK, Returns
from orchestrator.membership.forecast.verdict import Danger, Forecast, Outlook, Scope, Unseen
from orchestrator.membership.news.status import Json, reason_data
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import Reason, rule_of
from orchestrator.outside_text import sentence

_VERDICTS = {
    Outlook.SAFE: "yes: nothing speaks against the addition",
    Outlook.UNKNOWN: "nothing that was seen speaks against it; not everything can be seen from here",
    Outlook.UNSAFE: "no",
}


def forecast_data(forecast: Forecast) -> dict[str, Json]:
    """Return a forecast as others see it."""
    vouched = {word.enclave_key: word.account for word in forecast.vouched}
    sender = forecast.sender
    return {
        "privacy_group_id": forecast.privacy_group_id,
        "block_number": forecast.block_number,
        "block_hash": forecast.block_hash,
        "outlook": forecast.outlook.value,
        "verdict": verdict_of(forecast),
        "members": [
            {
                "enclave_key": replay.enclave_key,
                "node": replay.node,
                "outlook": _outlook_of(forecast, replay.enclave_key).value,
                "blocks_to_replay": replay.blocks,
                "transactions_to_replay": replay.transactions,
                "former": replay.former,
                "attested_by": vouched.get(replay.enclave_key),
            }
            for replay in forecast.replays
        ],
        "sender": None
        if sender is None
        else {
            "enclave_key": sender.enclave_key,
            "node": sender.node,
            "bundle": sender.bundle.value,
            "detail": sender.detail,
        },
        "dangers": [danger_data(danger) for danger in forecast.dangers],
        "risks": [
            {"block_number": risk.block_number, "transactions": list(risk.transactions)} for risk in forecast.risks
        ],
        "unseen": unseen_data(forecast.unseen),
    }


def verdict_of(forecast: Forecast) -> str:
    """Return in one sentence whether the addition can be made, and if not, why and what to do."""
    said = _VERDICTS[forecast.outlook]
    reason = forecast.reason
    if reason is None:
        return said
    rule = rule_of(reason)
    when = " now" if rule.judgement is Judgement.RETRY else ""
    return f"{said}{when}, because of {reason.slug.replace('_', ' ')}: {sentence(reason.detail)} {rule.remedy}"


def removal_verdict(addition: Forecast, refused: Reason | None) -> tuple[Outlook, str]:
    """Return in a word and in a sentence whether members that are removed could be added again.

    Args:
        addition: The forecast of that.
        refused: Why it would not be begun; None when it would.
    """
    reason = addition.reason or refused
    if reason is None:
        unknown = addition.outlook is Outlook.UNKNOWN
        not_seen = "nothing that was seen speaks against adding them again; not everything can be seen from here"
        said = not_seen if unknown else "yes: they can be added again, as it is now"
        return addition.outlook, f"{said}. {WAY_BACK}"
    rule = rule_of(reason)
    when = "not now" if rule.judgement is Judgement.RETRY else "no: they could not be added again as it is now"
    why = f"{reason.slug.replace('_', ' ')}: {sentence(reason.detail)}"
    return Outlook.UNSAFE, f"{when}, because of {why} {rule.remedy}"


def returns_data(returns: Returns) -> list[Json]:
    """Return what an addition does to ways back as others see it."""
    return [
        {
            "enclave_key": risk.enclave_key,
            "node": risk.node,
            "privacy_group_id": risk.privacy_group_id,
            "left_block": risk.left_block,
            "certain": risk.certain,
            "detail": risk.detail,
        }
        for risk in returns.at_risk
    ]


def unseen_data(unseen: Iterable[Unseen]) -> list[Json]:
    """Return what could not be looked at as others see it."""
    return [{"enclave_key": entry.enclave_key, "node": entry.node, "detail": entry.detail} for entry in unseen]


def danger_data(danger: Danger) -> dict[str, Json]:
    """Return a danger as others see it."""
    return {
        "scope": Scope(danger.scope).value,
        "block_number": danger.block_number,
        "transactions": list(danger.transactions),
        "reason": reason_data(danger.reason),
    }


def _outlook_of(forecast: Forecast, key: str) -> Outlook:
    if forecast.reason_for(frozenset({key})) is not None:
        return Outlook.UNSAFE
    unseen = any(entry.enclave_key in (None, key) for entry in forecast.unseen)
    return Outlook.UNKNOWN if unseen else Outlook.SAFE
