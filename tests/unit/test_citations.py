"""Citations of facts about Besu, and links to headings, lead to something that is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_repository import ROOT, documents, relative, texts

FACTS = ROOT / "docs" / "besu.md"
PLACE = r"#[a-z][a-z0-9-]*(?:, \d{1,2}\b(?![,.]?\d))?"
CITATION = re.compile(rf"docs/besu\.md(?P<places>{PLACE}(?:(?:,| and)\s+(?:# )?{PLACE})*)")
PATH = re.compile(r"`((?:orchestrator|tests)/[\w/.]+)`")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def sections(document: Path) -> dict[str, list[int]]:
    """Return the numbers of the facts under each heading, by the anchor that forges give the heading."""
    found: dict[str, list[int]] = {}
    for line in CODE.sub("", document.read_text()).splitlines():
        if heading := re.match(r"#+ (.+)", line):
            anchor = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            assert anchor not in found, f"{relative(document)} has two headings {heading[1]}"
            found[anchor] = []
        elif fact := re.match(r"(\d+)\. ", line):
            found[anchor].append(int(fact[1]))
    return found


def cited_places(text: str) -> Iterator[tuple[str, int | None]]:
    """Yield the anchors that a text cites, each with the number of the fact where there is one."""
    for citation in CITATION.finditer(text):
        for anchor, number in re.findall(r"#([a-z][a-z0-9-]*)(?:, (\d+))?", citation["places"]):
            yield anchor, int(number) if number else None


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("(docs/besu.md#versions)", [("versions", None)]),
        ("docs/besu.md#stale-bundles, 2: a repeat", [("stale-bundles", 2)]),
        ("docs/besu.md#nonces, #markers, 7 and #outcomes.", [("nonces", None), ("markers", 7), ("outcomes", None)]),
        ("# docs/besu.md#nonces,\n# #markers", [("nonces", None), ("markers", None)]),
        ("docs/besu.md#replay-measured, 1,500 transactions", [("replay-measured", None)]),
        ("docs/besu.md", []),
    ],
)
def test_citations_are_read(text: str, places: list[tuple[str, int | None]]) -> None:
    """A citation names one or more sections of the facts, each with or without the number of a fact."""
    assert list(cited_places(text)) == places


def test_cited_facts_are_there() -> None:
    """Every section of the facts that code, tests or documents cite exists, and has a fact of the number cited."""
    known = sections(FACTS)
    wrong, right = [], 0
    for name, text in texts():
        if ROOT / name == Path(__file__):
            continue
        wrong += [f"{name}: cites a document that is not here"] if "PROTOCOL" + ".md" in text else []
        for anchor, number in cited_places(text):
            there = anchor in known and (number is None or number in known[anchor])
            right += there
            wrong += [] if there else [f"{name}: #{anchor}" + (f", {number}" if number else "")]
    assert wrong == []
    assert right


def test_facts_are_numbered_through() -> None:
    """The facts of each section are numbered from 1 without a gap, so that a number means one fact."""
    for anchor, numbers in sections(FACTS).items():
        assert numbers == list(range(1, len(numbers) + 1)), anchor


def test_links_to_headings_find_them() -> None:
    """Every link within a document, or to a part of another one, finds the heading that it names."""
    wrong = []
    for document in documents():
        text = CODE.sub("", document.read_text())
        for target, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#([^)\s]+)\)", text):
            linked = document if not target else (document.parent / target).resolve()
            if linked.suffix == ".md" and anchor not in sections(linked):
                wrong.append(f"{relative(document)} links to {target}#{anchor}")
    assert wrong == []


def test_paths_that_documents_name_are_there() -> None:
    """Every file and folder of code or tests that a document names exists."""
    named = [(relative(document), path) for document in documents() for path in PATH.findall(document.read_text())]
    assert [f"{document}: {path}" for document, path in named if not (ROOT / path).exists()] == []
    assert len(named) > 50
