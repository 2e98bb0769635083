"""Judging what a node asks for: once at a time, and again as before."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from orchestrator.engine.ports.nodes import Head, NodeError
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.guard.chain_view import FactReader
from orchestrator.guard.judge import Judge, JudgeSettings
from orchestrator.membership.forecast.blocks import Examination
from orchestrator.membership.guard.judgement import GuardFacts, GuardRules, Witnessed
from orchestrator.membership.guard.received_bundles import ReceivedBundle
from orchestrator.membership.reasons.table import Reason
from orchestrator.store.guard.decisions import DecisionFile
from tests.fakes.guarded_network import until
from tests.unit.guard.test_proxy import BUNDLE, answer


class Facts(FactReader):
    """A new member's node that answers when it is let."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.looks = 0
        self.silent = 0

    @property
    def own_keys(self) -> tuple[str, ...]:
        return ("N",)

    async def head(self) -> Head:
        self.looks += 1
        await self.answers.wait()
        if self.silent:
            self.silent -= 1
            raise NodeError(Reason(slug="node_unreachable", detail="silent"))
        return Head(number=9, block_hash="0x9", parent_hash="0x8")

    async def own_root(self, privacy_group_id: str, head: int) -> str:  # noqa: ARG002 - as the port names them
        return ""

    async def facts(self, bundle: ReceivedBundle, head: Head, others_passed: Sequence[str]) -> GuardFacts:
        blocks = {call.pmt_hash: number for number, call in enumerate(bundle.calls, 3)}
        return GuardFacts(
            bundle=bundle,
            blocks=blocks,
            head=head.number,
            own_root="",
            departure=None,
            examinations={number: Examination(number=number, block_hash="") for number in blocks.values()},
            disturbed=(),
            others_passed=tuple(others_passed),
            witness=Witnessed(),
            approved=False,
        )


def judge(facts: Facts, within: float = 20.0) -> Judge:
    settings = JudgeSettings(rules=GuardRules(), within=timedelta(seconds=within))
    return Judge(facts, DecisionFile(None), settings, SystemClock())


async def body() -> bytes:
    return answer(BUNDLE)


async def test_a_node_that_asks_again_joins_the_judgement_under_way() -> None:
    """Who gave up after 5 s and asks again is answered by the same look; nobody who left ends it."""
    facts = Facts()
    judging = judge(facts)
    first = asyncio.ensure_future(judging.passes("K", body))
    await until(lambda: facts.looks)
    first.cancel()
    again = asyncio.ensure_future(judging.passes("K", body))
    await asyncio.sleep(0)
    facts.answers.set()
    # The bundle of the fake is no history: what is decided does not matter here, only that it is decided once.
    assert await again is False
    assert facts.looks == 1
    with pytest.raises(asyncio.CancelledError):
        await first
    await judging.close()


async def test_a_silent_node_is_asked_until_the_time_is_up() -> None:
    """One silence delays the judgement; a lasting one is dealt with as configured, and told with what was heard."""
    facts = Facts()
    facts.answers.set()
    facts.silent = 1
    judging = judge(facts)
    assert await judging.passes("K", body) is False
    assert [decided.decision.slug for decided in judging._decisions.all()] == ["bundle_may_be_torn"]
    facts.silent = 1_000
    judging = judge(facts, within=0.05)
    assert await judging.passes("K", body) is False
    (decided,) = judging._decisions.all()
    assert decided.decision.slug == "not_judged"
    assert "node_unreachable: silent" in decided.decision.detail
    assert judging.refused("K")
