"""The table of versions."""

from dataclasses import fields

import pytest

from orchestrator.besu.codec.management_contract import Abi
from orchestrator.devnet.versions import CHANGES, BesuBehaviour, UnknownBesuVersionError, behaviour_of, parse_version


@pytest.mark.parametrize(
    ("version", "find_method", "abi", "unlocks", "word"),
    [
        ("20.10.0", "privx_findOnChainPrivacyGroup", Abi.BYTES32, False, "Onchain"),
        ("21.7.3", "privx_findOnChainPrivacyGroup", Abi.BYTES32, False, "Onchain"),
        ("21.7.4", "privx_findOnChainPrivacyGroup", Abi.BYTES32, True, "Onchain"),
        ("21.10.9", "privx_findOnChainPrivacyGroup", Abi.BYTES32, True, "Onchain"),
        ("22.1.0", "privx_findFlexiblePrivacyGroup", Abi.BYTES32, True, "Flexible"),
        ("22.7.7", "privx_findFlexiblePrivacyGroup", Abi.BYTES32, True, "Flexible"),
        ("22.10.0", "privx_findFlexiblePrivacyGroup", Abi.BYTES, True, "Flexible"),
        ("24.1.0", "privx_findOnchainPrivacyGroup", Abi.BYTES, True, "Flexible"),
        ("25.5.0", "privx_findOnchainPrivacyGroup", Abi.BYTES, True, "Flexible"),
    ],
)
def test_behaviour_follows_the_releases(version: str, find_method: str, abi: Abi, unlocks: bool, word: str) -> None:
    """Find method, dialect, unlocking and wording change with the releases that changed them."""
    behaviour = behaviour_of(version)

    assert find_method in behaviour.find_methods
    assert behaviour.abi is abi
    assert behaviour.proxy_open_while_locked is unlocks
    assert behaviour.group_word == word


def test_only_the_last_version_loses_members() -> None:
    """25.5.0 loses added members; 25.4.1 does not."""
    assert behaviour_of("25.5.0").maps_read_before_replay
    assert not behaviour_of("25.4.1").maps_read_before_replay


def test_two_numbers_are_enough() -> None:
    """A version without a patch number is its first release."""
    assert parse_version("22.4") == (22, 4, 0)


@pytest.mark.parametrize("text", ["25.6.0", "20.9.9", "1.5.3", "22", "22.4.4.4", "latest", "", "22.a.1", "9" * 50])
def test_other_versions_are_refused(text: str) -> None:
    """A version that is not emulated, or no version at all, is refused with the range that is."""
    with pytest.raises(UnknownBesuVersionError):
        behaviour_of(text)


def test_the_table_is_in_order_and_names_attributes() -> None:
    """Releases are in ascending order, and every change names an attribute."""
    names = {field.name for field in fields(BesuBehaviour)}

    assert [since for since, _ in CHANGES] == sorted(since for since, _ in CHANGES)
    assert all(set(changed) <= names for _, changed in CHANGES)
