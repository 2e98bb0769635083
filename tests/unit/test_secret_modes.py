"""Tests of who else can read a secret's file."""

import pytest

from orchestrator.secret_modes import is_too_open, lies_in

ROOT, DAEMON, OTHER = 0, 1000, 1001


@pytest.mark.parametrize("owner", [ROOT, DAEMON])
def test_a_file_of_its_owner_alone_is_closed(owner: int) -> None:
    """Nobody else has a right to mode 0400 or 0600, whoever owns the file."""
    for mode in (0o100400, 0o100600):
        assert not is_too_open(mode, owner=owner, reader=DAEMON, handed_over=False)


@pytest.mark.parametrize("mode", [0o100604, 0o100601, 0o100620, 0o100444, 0o100460])
def test_everybodys_rights_and_the_groups_right_to_write_are_too_open(mode: int) -> None:
    """No way of handing a secret over excuses a right of everybody, or a group that may write."""
    for owner in (ROOT, DAEMON):
        assert is_too_open(mode, owner=owner, reader=DAEMON, handed_over=True)


def test_roots_file_may_be_read_by_the_group_of_the_daemon() -> None:
    """Kubernetes mounts secrets as root's with mode 0440 and the pod's group; another owner's file is refused so."""
    assert not is_too_open(0o100440, owner=ROOT, reader=DAEMON, handed_over=False)
    assert is_too_open(0o100440, owner=DAEMON, reader=DAEMON, handed_over=False)
    assert is_too_open(0o100440, owner=OTHER, reader=DAEMON, handed_over=False)
    assert is_too_open(0o100440, owner=ROOT, reader=ROOT, handed_over=False)


def test_a_credential_of_systemd_may_show_its_access_list_as_rights_of_the_group() -> None:
    """A file in systemd's folder of credentials is taken with mode 0440 whoever owns it."""
    assert not is_too_open(0o100440, owner=DAEMON, reader=DAEMON, handed_over=True)
    assert lies_in("/run/credentials/orchestrator.service/key", "/run/credentials/orchestrator.service")
    assert not lies_in("/run/credentials/other.service/key", "/run/credentials/orchestrator.service")
    assert not lies_in("/run/credentials/key", "")
