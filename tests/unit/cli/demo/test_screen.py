"""What the demo shows."""

import io

import pytest
from rich.console import Console

from orchestrator.api.documents.groups import group_document
from orchestrator.api.ports.changes import GroupStanding, MemberStanding
from orchestrator.cli.demo.screen import Screen
from orchestrator.cli.display.words import Words
from tests.fakes.http_api import GROUP, GROUP_IN_PATH, KEYS

WORDS = Words(nodes={f"member{number}": (key,) for number, key in enumerate(KEYS, start=1)}, full=False)


@pytest.fixture
def plain() -> Console:
    """No terminal."""
    return Console(file=io.StringIO(), width=160)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_bar_is_a_few_lines_off_a_terminal(plain: Console) -> None:
    """Off a terminal a bar is a line for each fifth and one for the end, with the time that is left."""
    with Screen(plain, WORDS).bar("member3 replays", "blocks") as bar:
        for done in range(100):
            bar.update(done, 100, f"about {100 - done} s left")
        bar.update(100, 100)
    lines = text_of(plain).splitlines()
    assert len(lines) == 6
    assert lines[1] == "  member3 replays: 20 of 100 blocks, about 80 s left"
    assert lines[-1] == "  member3 replays: 100 of 100 blocks"


def test_a_bar_is_drawn_on_a_terminal() -> None:
    """On a terminal a bar shows how much of how much, and the time that is left."""
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with Screen(console, WORDS).bar("member3 replays", "blocks") as bar:
        bar.update(30, 40, "about 7 s left")
    assert "30 of 40 blocks" in text_of(console)
    assert "about 7 s left" in text_of(console)


def test_members_are_shown_with_root_version_and_participants(plain: Console) -> None:
    """The table has a line for each member with what its own node shows."""
    standing = GroupStanding(
        privacy_group_id=GROUP,
        block_number=18,
        participants=KEYS,
        members=tuple(
            MemberStanding(
                enclave_key=key,
                node=f"node{number}",
                head=18,
                exists=True,
                participants=KEYS,
                version="0x" + "12" * 32,
                state_root="0x" + "34" * 32,
            )
            for number, key in enumerate(KEYS, start=1)
        ),
    )
    Screen(plain, WORDS).members(group_document(standing, GROUP_IN_PATH))
    lines = text_of(plain).splitlines()
    assert len(lines) == 4
    assert all("member1, member2, member3" in line and "0x3434" in line and "0x1212" in line for line in lines[1:])
