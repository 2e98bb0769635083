"""The devnet answers recorded scenarios as the real nodes did."""

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from orchestrator.devnet import DevnetConfig, running_devnet
from orchestrator.devnet.accounts import RECORDED_TENANT_KEY, enclave_key_of
from orchestrator.devnet.clock import VirtualClock
from tests.contract.devnet.enclave_faults import networks_with_faults
from tests.contract.devnet.own_markers import networks_of
from tests.contract.devnet.player import Player
from tests.contract.devnet.recording import Recording, read_recording

RECORDINGS = Path(os.environ.get("DEVNET_RECORDINGS", Path(__file__).parent / "recordings"))


def _tokens(private_key: rsa.RSAPrivateKey) -> dict[str, str]:
    everything = ["*:*"]
    now = datetime.now(UTC)

    def token(key: str, permissions: list[str] = everything, lifetime: timedelta = timedelta(hours=1)) -> str:
        claims = {"privacyPublicKey": key, "permissions": permissions, "exp": now + lifetime}
        return jwt.encode(claims, private_key, algorithm="RS256")

    return {
        "no permission": token(enclave_key_of(1), ["none:none"]),
        "expired": token(enclave_key_of(1), lifetime=timedelta(hours=-1)),
        "bad": "bad.token.here",
        "unhosted key": token(enclave_key_of(60)),
        "tenant A (node 1)": token(enclave_key_of(1)),
        "tenant B (node 1)": token(RECORDED_TENANT_KEY),
        "tenant C (node 2)": token(enclave_key_of(2)),
    }


def _config(recording: Recording, tmp_path: Path) -> tuple[DevnetConfig, dict[str, str]]:
    common: dict[str, Any] = {
        "base_port": 0,
        "block_period_seconds": 0.0,
        "besu_version": recording.besu,
        "submission_ms": 0.0,
        "enclave": recording.enclave,
        "rpc_apis": recording.apis,
        "base_fee": recording.base_fee,
    }
    if all(exchange.tenant == "" for exchange in recording.exchanges):
        return DevnetConfig(**common, replay_ms_per_transaction=0.0), {}
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = tmp_path / "public.pem"
    pem.write_bytes(
        private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    config = DevnetConfig(
        **common,
        replay_ms_per_transaction=0.0,
        jwt_public_key_file=pem,
        extra_enclave_keys={1: (RECORDED_TENANT_KEY,)},
    )
    return config, _tokens(private_key)


def _networks(recording: Recording) -> Iterable[tuple[Recording, dict[str, Any]]]:
    if recording.has_own_markers:
        return networks_of(recording)
    return networks_with_faults(recording) if recording.has_events else [(recording, {})]


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.jsonl")), ids=lambda path: path.stem)
async def test_devnet_answers_as_the_recorded_nodes(path: Path, tmp_path: Path) -> None:
    """Every exchange of a recorded scenario gets an answer from the devnet that means the same."""
    recording = read_recording(path)
    config, tokens = _config(recording, tmp_path)
    compared, mismatches = 0, dict[int, list[str]]()
    for part, setup in _networks(recording):
        async with running_devnet(replace(config, **setup), VirtualClock()) as devnet:
            player = Player(part, devnet, tokens)
            await player.play()
        compared += player.compared
        mismatches |= player.mismatches

    assert compared == len([exchange for exchange in recording.exchanges if exchange.event is None])
    assert not mismatches, "\n".join(f"{path.name}:{line}: " + "\n    ".join(said) for line, said in mismatches.items())
