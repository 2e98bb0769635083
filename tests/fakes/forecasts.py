"""Forecasts with something of everything in them."""

from dataclasses import replace

from orchestrator.api.ports.forecasts import RemovalForeseen
from orchestrator.membership.forecast.blocks import Examination
from orchestrator.membership.forecast.durations import (
    BYTES_OF_A_SMALL_TRANSACTION,
    Durations,
    ExpectedReplayTime,
    Quantity,
    Sample,
    blocks_behind,
    expected,
    expected_lock,
)
from orchestrator.membership.forecast.returns import LeftGroup, Returns, return_at_risk
from orchestrator.membership.forecast.senders import Bundle, SenderStanding
from orchestrator.membership.forecast.verdict import Danger, Forecast, Risk, Scope, Unseen
from orchestrator.membership.model import ExpectedReplay
from orchestrator.membership.reasons.table import Reason
from tests.fakes.http_api import GROUP, KEYS

OTHER_GROUP = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="
REPLAY = ExpectedReplay(enclave_key=KEYS[2], node="member3", blocks=40)


def some_durations() -> Durations:
    """A history of 2,000 small transactions; three additions were measured on the sender's node, none elsewhere."""
    bundling = expected(
        Quantity.BUNDLING, 2_000, [Sample(transactions=n, seconds=0.1 + n / 1_000) for n in (100, 500, 900)]
    )
    replay = expected(Quantity.REPLAY, 2_000, ())
    return Durations(
        transactions=2_000,
        bundle_bytes=2_000 * BYTES_OF_A_SMALL_TRANSACTION,
        bundling=bundling,
        lock=expected_lock(bundling, 1.0),
        replays=(ExpectedReplayTime(enclave_key=KEYS[2], time=replay, blocks_behind=blocks_behind(replay, 1.0)),),
    )


def a_safe_forecast() -> Forecast:
    """One new member, of a node that has 40 blocks to replay."""
    sender = SenderStanding(enclave_key=KEYS[0], node="member1", bundle=Bundle.FIRST_HAND)
    return Forecast(privacy_group_id=GROUP, block_number=52, block_hash="0x52", sender=sender, replays=(REPLAY,))


def an_unsafe_forecast(slug: str = "block_not_replayable", scope: Scope = Scope.MEMBER) -> Forecast:
    """The same, with a block that can't be replayed, a risk, and a member that could not be seen."""
    sender = SenderStanding(
        enclave_key=KEYS[0], node="member1", bundle=Bundle.UNKNOWN, detail="it does not list what it left"
    )
    reason = Reason(slug=slug, detail="block 8: account 0xp has 2 transactions in it", members=(KEYS[2],))
    return Forecast(
        privacy_group_id=GROUP,
        block_number=52,
        block_hash="0x52",
        sender=sender,
        dangers=(Danger(scope=scope, reason=reason, block_number=8, transactions=("0xt1", "0xt2")),),
        risks=(Risk(block_number=11, transactions=("0xt3",)),),
        unseen=(Unseen(enclave_key=KEYS[1], node="member2", detail="it does not answer"),),
        replays=(REPLAY,),
    )


def a_closed_way() -> Returns:
    """The new member's node left another group in block 7, and this one has transactions in 7 and 8."""
    left = LeftGroup(privacy_group_id=OTHER_GROUP, block_number=7)
    risk = return_at_risk(KEYS[2], "member3", left, {7, 8}, goes_on=None, earlier=False)
    assert risk is not None
    return Returns(at_risk=(risk,))


def a_removal(*, refused: Reason | None = None, closed: bool = False) -> RemovalForeseen:
    """Member 3 is removed, which has all that the group has; with a block that no node can replay, if wanted."""
    addition = replace(a_safe_forecast(), replays=(replace(REPLAY, blocks=0, former=True),))
    block = Examination(number=8, block_hash="0x8", flaws=(), unsettling=(), markers=1) if closed else None
    return RemovalForeseen(addition=addition, refused=refused, closed_block=block)
