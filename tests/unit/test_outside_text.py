"""What outsiders write can be told: valid, on one line, bounded, without secrets, in time in proportion to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.outside_text import REDACTED, one_line, presentable, redacted, valid
from tests.processor_time import assert_brief

any_text = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)

WORST = [
    "token" + ".a" * 130_000,
    "eyJ" + "aaaaaaa-eyJ" * 24_000,
    "://a" * 65_000,
    "a.a" * 87_000 + "://",
    "token " * 43_000,
    "password=" * 29_000,
    "bearer " * 37_000,
    "0123456789abcdef" * 16_000,
    "\ud800" * 260_000,
    "\u202e" * 260_000,
]


@given(any_text)
def test_any_text_can_be_told(text: str) -> None:
    """What is told is printable, of bounded length, and can be encoded as UTF-8."""
    said = presentable(text, 100)
    said.encode()
    assert len(said) < 140
    assert all(character.isprintable() or not character.isascii() for character in said)


@pytest.mark.parametrize("text", WORST, ids=lambda text: ascii(text[:8]))
def test_the_worst_texts_take_little_time(text: str) -> None:
    """A quarter of a megabyte that is made to be slow takes less than 100 ms of processor time."""
    assert_brief(lambda: (presentable(text), redacted(text, 4000)), 0.1)


def test_a_secret_on_the_edge_is_not_shown_in_part() -> None:
    """A secret that begins before the cut and ends behind it does not show."""
    for kept in range(80, 120):
        said = presentable("x" * kept + " password=" + "hunter2" * 3 + " " + "y" * 5000, 100)
        assert "hunter" not in said.replace(REDACTED, "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\x1b[31mb\r\nc", "a [31mb  c"),
        ("a\ud800b", "a\N{REPLACEMENT CHARACTER}b"),
        ("a\u202eb\u2028c\u200bd", "a b c d"),
        ("Zürich 東京 🙂", "Zürich 東京 🙂"),
    ],
)
def test_what_moves_a_cursor_becomes_a_space(text: str, said: str) -> None:
    """Control characters, line separators and marks of direction become spaces; letters of any script stay."""
    assert one_line(text) == said


def test_every_text_inside_of_a_value_is_made_valid() -> None:
    """Names and values at any depth can be encoded, and what is nested without end is left out."""
    endless: list[object] = []
    endless.append(endless)
    found = valid({"\ud800": ["\x00", 1, None, {"a": "\ud800"}], "endless": endless})
    str(found).encode()
    assert isinstance(found, dict)
    assert found["\N{REPLACEMENT CHARACTER}"] == [" ", 1, None, {"a": "\N{REPLACEMENT CHARACTER}"}]
