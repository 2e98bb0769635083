"""Forecasts with something of everything in them."""

from orchestrator.membership.forecast.senders import Bundle, SenderStanding
from orchestrator.membership.forecast.verdict import Danger, Forecast, Risk, Scope, Unseen
from orchestrator.membership.model import ExpectedReplay
from orchestrator.membership.reasons import Reason
from tests.fakes.http_api import GROUP, KEYS

REPLAY = ExpectedReplay(enclave_key=KEYS[2], node="member3", blocks=40)


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
