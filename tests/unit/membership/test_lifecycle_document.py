import runpy
from pathlib import Path
from typing import Any

import pytest

from orchestrator.membership.machine import TRANSITIONS
from orchestrator.membership.model import State
from orchestrator.membership.reasons.table import RULES
from orchestrator.membership.triage.signals import Signal

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def drawing() -> dict[str, Any]:
    """The script that draws the document, without its main part."""
    return runpy.run_path(str(DOCS / "draw_lifecycle.py"), run_name="draw_lifecycle")


def test_the_document_is_current(drawing: dict[str, Any]) -> None:
    """Diagrams and tables are as the rules are; run `python docs/draw_lifecycle.py` if not."""
    text = (DOCS / "lifecycle.md").read_text()
    assert drawing["drawn"](text) == text


def test_the_diagrams_show_the_whole_table(drawing: dict[str, Any]) -> None:
    """Every row of the table is an arrow in one of the two diagrams, or noted below them."""
    parts = drawing["parts"]()
    for (source, signal), target in TRANSITIONS.items():
        if signal is Signal.UNDECIDED:
            assert f"`{source}`" in parts["noted"]
            continue
        arrow = f"    {source} --> {target}: "
        lines = [line for name in ("states", "reorganisations") for line in parts[name].splitlines()]
        labels = [line.removeprefix(arrow).split(" / ") for line in lines if line.startswith(arrow)]
        assert [signal.value] in [[name] for label in labels for name in label]


def test_every_state_and_every_reason_is_explained() -> None:
    """A person finds each word that the daemon says."""
    text = (DOCS / "lifecycle.md").read_text()
    assert not [state for state in State if f"| `{state}` |" not in text]
    assert not [slug for slug in RULES if f"| `{slug}` |" not in text]


def test_a_document_without_a_place_is_refused(drawing: dict[str, Any]) -> None:
    """A part that would not be drawn is not forgotten silently."""
    with pytest.raises(ValueError, match="no place for states"):
        drawing["drawn"]("# The life of a change\n")
