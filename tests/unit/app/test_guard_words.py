"""What is said of a guard to those who ask before they add a member."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.app.guard_words import GuardWords
from orchestrator.config import Config, load_config
from orchestrator.membership.guard.judgement import Decision, Outcome, Refusal
from orchestrator.membership.guard.received_bundles import Approval
from orchestrator.store.guard.approvals import ApprovalFile
from orchestrator.store.guard.decisions import Decided, DecisionFile
from tests.fakes.clock import JumpingClock

OWNER = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"


def configured(folder: Path, guard: str) -> Config:
    path = folder / "orchestrator.toml"
    path.write_text(
        f"""
[guard]
{guard}
[[nodes]]
name = "m1"
http = "http://127.0.0.1:1"
enclave_keys = ["BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="]
"""
    )
    return load_config(path, {})


def refusal(slug: str, at: datetime) -> Decided:
    decision = Decision(outcome=Outcome.REFUSED, slug=slug, detail="with another group's name", lasting=True)
    return Decided(key="K", decision=decision, head=7, at=at, privacy_group_id="G", owner=OWNER)


async def test_what_was_not_agreed_to_is_told_until_it_is(tmp_path: Path) -> None:
    """With `asked`, of the guarded node only, and without anybody having tried."""
    config = configured(tmp_path, 'accept = "asked"')
    words = GuardWords(config, JumpingClock())
    assert await words.why("m1", "G") == "nobody there has agreed to this addition"
    assert await words.why("m2", "G") is None
    ApprovalFile(config.guard.approvals_file).add(Approval(privacy_group_id="G", owner=OWNER))
    assert await words.why("m1", "G") is None


@pytest.mark.parametrize(
    ("slug", "told"),
    [
        ("block_not_replayable", "at block 7 it refused the history: block not replayable"),
        ("held_beyond", None),
        ("not_agreed_to", None),
        ("owner_not_known", None),
    ],
)
async def test_a_refusal_is_told_by_its_rule_while_it_may_be_met_again(
    tmp_path: Path, slug: str, told: str | None
) -> None:
    """For an hour, without the words that name other groups; what the rules have since allowed is not told."""
    config = configured(tmp_path, "")
    clock = JumpingClock()
    file = DecisionFile(config.guard.decisions_file)
    file.keep(refusal(slug, clock.now()))
    assert await GuardWords(config, clock).why("m1", "G") == told
    file.keep(refusal(slug, clock.now() - timedelta(hours=2)))
    assert await GuardWords(config, clock).why("m1", "G") is None
    assert await GuardWords(config, clock).why("m1", "H") is None


async def test_an_owner_that_is_not_known_is_told_until_it_is(tmp_path: Path) -> None:
    """However long ago it was refused."""
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    other = "0x627306090abab3a6e1400e9345bc60c78a8bef57"
    config = configured(tmp_path, f'accept = "known-owners"\nknown_owners = ["{other}"]')
    DecisionFile(config.guard.decisions_file).keep(refusal("owner_not_known", long_ago))
    assert "owner is none" in str(await GuardWords(config, JumpingClock()).why("m1", "G"))
    config = configured(tmp_path, f'accept = "known-owners"\nknown_owners = ["{OWNER}"]')
    assert await GuardWords(config, JumpingClock()).why("m1", "G") is None


async def test_what_was_refused_of_late_is_told_by_block(tmp_path: Path) -> None:
    """The newest decision about each history counts, for the block after the head at which it was made."""
    config = configured(tmp_path, "")
    clock = JumpingClock()
    words, file = GuardWords(config, clock), DecisionFile(config.guard.decisions_file)
    assert await words.recent() == ()
    file.keep(replace(refusal("not_judged", clock.now() - timedelta(hours=2)), key="old"))
    file.keep(replace(refusal("not_judged", clock.now()), key="passed since"))
    safe = Decision(outcome=Outcome.PASSED, slug="safe", replays=True)
    file.keep(replace(refusal("not_judged", clock.now()), key="passed since", decision=safe))
    file.keep(refusal("replay_too_long", clock.now()))
    (told,) = await words.recent()
    assert told == Refusal(node="m1", privacy_group_id="G", block_number=8, rule="replay_too_long")
    assert await words.refused("m1", "G", 8) == "replay_too_long"
    assert await words.refused("m1", "G", 9) == await words.refused("m2", "G", 8) == ""
