"""A rehearsal's report, and how it is asked for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli.main import app
from orchestrator.cli.rehearsal.report import Course, Rehearsal, Scan, as_document, as_markdown, remarks_on

SCAN = Scan(
    first_block=1,
    last_block=20_000,
    days=0.46,
    account_twice=3,
    with_private=1,
    newest=19_990,
    account="0xp",
    period_seconds=2.0,
    whole=False,
)
COURSE = Course(
    create_seconds=2.0,
    fill_seconds=20.0,
    transactions=200,
    forecast="yes",
    bundling_seconds=0.5,
    lock_blocks=8,
    replay_seconds=4.0,
    blocks_behind=30,
    agreed_blocks=4,
    remove_seconds=2.0,
)
FOUND = Rehearsal(
    members=("member1", "member2"), versions=("23.10.3", "?"), privacy_group_id="g", scan=SCAN, course=COURSE
)


def test_remarks_tell_what_the_real_thing_would_meet() -> None:
    """Accounts that send twice, a scan that was cut short, long locks and nodes that fall behind are named."""
    said = " ".join(remarks_on(SCAN, COURSE))
    for words in ("In 3 of 20,000 blocks", "0xp", "last 0.5 days", "locked for 8 blocks", "30 blocks behind"):
        assert words in said
    assert remarks_on(None, Course()) == ()


def test_a_report_is_one_document_and_one_page() -> None:
    """Both say whether the network is fit; the page has the figures in words."""
    assert as_document(FOUND)["fit"] is True
    assert json.loads(json.dumps(as_document(FOUND)))["course"]["replay_seconds"] == 4.0
    page = as_markdown(FOUND)
    assert "**The network is fit.**" in page
    assert "| replay of a transaction | 20.0 ms" in page
    broken = replace(FOUND, troubles=("the forecast refuses the addition",))
    assert "- the forecast refuses the addition" in as_markdown(broken)
    assert not broken.fit


def test_what_did_not_come_to_its_end_is_not_fit() -> None:
    """Without a trouble and without an end there is no verdict in favour."""
    assert not replace(FOUND, course=Course()).fit


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of two nodes that nobody asks."""
    (tmp_path / "owner.key").write_text("11" * 32)
    (tmp_path / "owner.key").chmod(0o600)
    nodes = "".join(
        f'[[nodes]]\nname = "member{n}"\nhttp = "http://127.0.0.1:{n}"\nenclave_keys = ["{key}"]\n'
        for n, key in (
            (1, "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="),
            (2, "QfeDAys9MPDs2XHExtc84jKGHxZg/aj52DTh0vtA3Xc="),
        )
    )
    account = '[[accounts]]\naddress = "0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"\nkey_file = "owner.key"\n'
    path = tmp_path / "orchestrator.toml"
    path.write_text('[store]\nurl = "sqlite:///store.db"\n[broker]\nurl = "embedded:"\n' + nodes + account)
    return path


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["rehearse", "--config", str(config), *arguments])


def test_a_rehearsal_is_not_begun_unasked(config: Path) -> None:
    """It writes to the chain and leaves a group behind: off a terminal it wants --yes, and says what it would do."""
    result = run(config)
    assert result.exit_code == 2
    assert "writes 200 private transactions" in result.stderr
    assert "--yes" in result.stderr


@pytest.mark.parametrize(
    ("members", "said"), [("member9,member1", "member9"), ("member1", "at least two"), ("member1,member1", "each once")]
)
def test_members_are_checked_first(config: Path, members: str, said: str) -> None:
    """Names that nobody has, and too few of them, are wrong usage."""
    result = run(config, "--yes", "--members", members)
    assert (result.exit_code, said in result.stderr) == (2, True)
