import ssl

import pytest
from aiohttp import ClientOSError

from orchestrator.besu.transport.network_words import broken_words, system_words


@pytest.mark.parametrize(
    ("alert", "words"),
    [
        (
            "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]",
            "tlsv13 alert certificate required; does it ask for a certificate",
        ),
        ("", "ClientOSError"),
    ],
)
def test_a_broken_connection_is_told_in_the_other_sides_words(alert: str, words: str) -> None:
    """What TLS said is told, and what to do about a certificate that is missing; else the kind of error."""
    error = ClientOSError(1, "broken")
    if alert:
        error.__cause__ = ssl.SSLError(1, alert)
        error.__cause__.reason = alert[6:-1]
    assert broken_words(error).startswith(words)


def test_a_refused_connection_is_told_in_the_systems_words() -> None:
    """Not in Python's, which tell of its calls."""
    assert system_words(ConnectionRefusedError(111, "Connect call failed")) == "Connection refused"
