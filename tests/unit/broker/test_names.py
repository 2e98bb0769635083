"""What a message queue is told."""

import ssl
from pathlib import Path

import pytest
import trustme

from orchestrator.broker.names import Access, Names


def test_secrets_do_not_show() -> None:
    """Token and password are in no repr, and so in no log."""
    assert "hush" not in repr(Access(token="hush", user="me", password="hush"))


def test_events_go_under_their_type() -> None:
    """The subject of an event is the prefix, a dot and the type."""
    assert Names(events="a.b").event_subject("membership.change.failed.v1") == "a.b.membership.change.failed.v1"


def test_tls_always_checks_the_server(tmp_path: Path) -> None:
    """With an authority of one's own too, certificate and host name are checked."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for access in (Access(), Access(ca_file=tmp_path / "ca.pem")):
        context = access.tls_context()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_a_missing_certificate_file_is_told(tmp_path: Path) -> None:
    """A file that is not there raises instead of leaving TLS without it."""
    with pytest.raises(OSError, match="No such file"):
        Access(ca_file=tmp_path / "none.pem").tls_context()
