"""What the audit says of groups that need a person."""

import io
import json
from dataclasses import replace

from rich.console import Console

from orchestrator.cli.verbs.audit import as_document, show
from orchestrator.engine.audit.comparison import AuditReport
from orchestrator.membership.damage.divergence import Standing, compare
from orchestrator.membership.model import GroupView

PMT = "0x" + "ab" * 32


def standing(key: str, root: str) -> Standing:
    return Standing(enclave_key=key, node=f"node-{key}", view=GroupView(block_number=9, exists=True, state_root=root))


def said(report: AuditReport) -> str:
    text = io.StringIO()
    show(report, Console(file=text, highlight=False, soft_wrap=True))
    return text.getvalue()


def test_a_tie_names_nobody_and_tells_to_change_nothing() -> None:
    """Of two members that differ both are shown alike, with what each lacks, and no remedy is proposed."""
    tie = compare("g", 9, [standing("a", "0x1"), standing("b", "0x2")], ("a", "b"))
    report = AuditReport(block_number=9, comparisons=(replace(tie, first_block=7, lacking={"a": (PMT,)}),))
    text = said(report)
    assert "can't tell which of them is right: change none of them" in text
    assert "another state: a on node-a" in text
    assert "another state: b on node-b" in text
    assert PMT in text
    assert "reference" not in text
    assert "fresh" not in text
    (group,) = json.loads(as_document(report))["groups"]
    assert (group["undecided"], group["reference"], group["agree"]) == (True, "", False)
    assert [entry["lacks"] for entry in group["differing"]] == [[PMT], []]


def test_another_group_of_the_same_id_is_named() -> None:
    """Two groups of one id are told as such, and that another id is the way out."""
    agreeing = compare("g", 9, [standing("a", "0x1"), standing("b", "0x1")], ("a", "b"))
    report = AuditReport(block_number=9, comparisons=(replace(agreeing, namesakes=(("x", "y"),)),))
    text = said(report)
    assert "another group has this id, too" in text
    assert "its members: x, y" in text
    assert "use another id" in text
    document = json.loads(as_document(report))
    assert not document["agree"]
    assert document["groups"][0]["other_groups"] == [["x", "y"]]
