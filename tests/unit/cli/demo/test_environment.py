"""The demo's environment."""

import socket

import pytest

from orchestrator.besu.codec.private_transaction import address_of_private_key
from orchestrator.cli.demo import environment
from orchestrator.devnet.accounts import DEVELOPMENT_KEYS


def test_free_ports_are_free() -> None:
    """The ports that are chosen are consecutive and can be bound."""
    first = environment.free_ports(6)
    for port in range(first, first + 6):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))


def test_no_free_ports_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """When all ports are taken the error says so instead of starting a network that can't listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(environment, "_PORTS", range(taken.getsockname()[1], taken.getsockname()[1] + 1))
        with pytest.raises(environment.EnvironmentSetupError, match="free ports"):
            environment.free_ports(1)


def test_the_owner_is_the_public_development_account() -> None:
    """The demo's account is the well-known one that the key belongs to."""
    assert address_of_private_key(DEVELOPMENT_KEYS[environment.OWNER]) == environment.OWNER
