import pytest

from orchestrator.besu.codec.management_contract import Abi
from orchestrator.besu.versions import native_abi, notes_of
from orchestrator.membership.besu_lines import Version, unlock_works


@pytest.mark.parametrize(
    ("version", "abi", "unlocks"),
    [
        ((21, 1, 7), Abi.BYTES32, False),
        ((21, 7, 4), Abi.BYTES32, True),
        ((22, 4, 4), Abi.BYTES32, True),
        ((22, 10, 0), Abi.BYTES, True),
        ((25, 5, 0), Abi.BYTES, True),
    ],
)
def test_versions_differ_as_measured(version: Version, abi: Abi, *, unlocks: bool) -> None:
    """The dialect and unlock() follow the table of versions."""
    assert native_abi(version) is abi
    assert unlock_works(version) is unlocks


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ((20, 10, 0), ["early access", "unlock()", "21.10.2", "22.10.0"]),
        ((22, 4, 4), ["early access", "22.10.0"]),
        ((25, 4, 1), ["early access", "25.6.0"]),
        ((25, 5, 0), ["early access", "25.5.0 loses"]),
    ],
)
def test_each_line_has_its_notes(version: Version, words: list[str]) -> None:
    """A version's notes name what is early access, what works otherwise there, and where the road ends."""
    told = " ".join(notes_of(version))
    assert all(word in told for word in words)


def test_a_later_version_has_no_notes_of_earlier_ones() -> None:
    """What was mended is not told any more."""
    assert len(notes_of((23, 10, 3))) == 1
