import re
import subprocess
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CHANGELOG.md").read_text()
KINDS = ["Upgrading", "Added", "Changed", "Deprecated", "Fixed", "Removed", "Security"]
"""Those of Keep a Changelog, behind what somebody has to do."""


def versions() -> list[tuple[str, str]]:
    """The headings of versions, each with what stands under it, as they are written."""
    parts = re.split(r"^## (.+)$", TEXT, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def number(heading: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", heading.split("]", maxsplit=1)[0]))


def test_what_comes_next_stands_first() -> None:
    """The newest entry is of what is not released yet; below it versions with their days, newest first, each once."""
    (first, *released) = [heading for heading, _ in versions()]
    assert first == "[Unreleased]"
    assert [heading for heading in released if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)] == []
    assert all(number(newer) > number(older) for newer, older in pairwise(released))


def test_every_tag_is_told_of() -> None:
    """A version that was tagged has an entry."""
    asked = subprocess.run(["git", "tag", "--list", "v*"], cwd=ROOT, capture_output=True, text=True, check=False)
    told = {heading.split("]")[0].removeprefix("[") for heading, _ in versions()}
    assert {tag.removeprefix("v") for tag in asked.stdout.split()} <= told


def test_entries_are_sorted_by_kind() -> None:
    """Under a version each kind of change stands once, in one order, and has something under it."""
    for heading, text in versions():
        parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
        assert parts[0].strip() == "", heading
        kinds = parts[1::2]
        assert kinds == [kind for kind in KINDS if kind in kinds], heading
        assert all(part.strip().startswith("- ") for part in parts[2::2]), heading


def test_an_entry_is_a_sentence_for_users() -> None:
    """Each entry begins with a capital or a name in code, and ends as a sentence does."""
    entries = re.findall(r"^- (.*?)(?=^- |^#|^$|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert len(entries) > 50
    wrong = [
        entry
        for entry in entries
        if not re.match(r"[A-Z`\[*]", entry) or not entry.strip().endswith((".", "?", ":", ")"))
    ]
    assert wrong == []
