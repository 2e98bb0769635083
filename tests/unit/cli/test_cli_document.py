"""The reference of the command line is what the command line says."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


def test_the_reference_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every verb's help stands in docs/cli.md as it is; run `python docs/write_cli.py` if not."""
    monkeypatch.setenv("COLUMNS", "80")
    script = runpy.run_path(str(DOCS / "write_cli.py"), run_name="write_cli")
    assert (DOCS / "cli.md").read_text("utf-8") == script["written"]()


def test_no_verb_is_listed_with_half_a_sentence() -> None:
    """What a list of verbs says of each fits its line, and is not cut off."""
    lines = (DOCS / "cli.md").read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("  ") and line.endswith("...")] == []


def test_no_help_is_wider_than_a_terminal() -> None:
    """Help fits 80 columns."""
    blocks = (DOCS / "cli.md").read_text("utf-8").split("```text\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].splitlines()]
    assert len(blocks) > 20
    assert max(map(len, lines)) <= 80
