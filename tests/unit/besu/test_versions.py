import pytest

from orchestrator.besu.management_contract import Abi
from orchestrator.besu.versions import Version, native_abi, unlock_works


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
