"""What the deep audit says to a person and to monitoring."""

import io
import json

from rich.console import Console

from orchestrator.cli.verbs.deep_audit import DeepResult, as_document, show
from orchestrator.engine.audit.deep_audit import DeepReport
from orchestrator.membership.damage.findings import Damage, DamageFinding
from orchestrator.membership.damage.unextendable import WatchTally

TORN = DamageFinding(
    damage=Damage.TORN, detail="it jumps over block 5", privacy_group_id="g", members=("m",), node="n2", block_number=6
)
DIFFERS = DamageFinding(damage=Damage.DIFFERS, detail="it lacks block 5", privacy_group_id="g", node="n3")


def result(*findings: DamageFinding, **fields: object) -> DeepResult:
    given = {"block_number": 9, "groups": 2, "blocks": 10, "account_twice": 1, "findings": findings} | fields
    report = DeepReport(**given)  # type: ignore[arg-type] # each test gives fields of the right types
    return DeepResult(report=report, tally=WatchTally(blocks=100, account_twice=4), calls=77)


def said(found: DeepResult) -> str:
    text = io.StringIO()
    show(found, Console(file=text, highlight=False, soft_wrap=True))
    return text.getvalue()


def test_a_finding_says_what_to_do_and_what_never() -> None:
    """Group, node and block are in its first line, then what was seen, what repairs it and what is forbidden."""
    text = said(result(TORN))
    assert text.startswith("danger: torn bundle: group g, node n2, block 6\n")
    assert "seen: it jumps over block 5" in text
    assert "Never add to this group through node n2" in text
    assert "1 of 10 blocks of these groups have an account twice" in text
    assert "4 of 100" in text


def test_dangers_are_no_damage() -> None:
    """Only damage, or nothing that could be looked at, makes the exit code 1."""
    assert not result(TORN).damaged
    assert result(TORN, DIFFERS).damaged
    assert result(block_number=None).damaged
    assert "nothing was looked at" in said(result(block_number=None))


def test_monitoring_gets_one_document() -> None:
    """The JSON has the findings in their order with their texts, and what was not looked at."""
    document = json.loads(as_document(result(DIFFERS, TORN, skipped={"n4": "down"}, left_out=("z",))))
    assert [finding["finding"] for finding in document["findings"]] == ["member_differs", "torn_bundle"]
    assert (document["damaged"], document["skipped_nodes"], document["left_out"]) == (True, {"n4": "down"}, ["z"])
    assert document["findings"][1]["never"]
