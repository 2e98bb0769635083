"""Tenants of one node: each has a token of its own and sees only its own groups."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.acceptance.conftest import ENCLAVE_KEYS, DaemonProcess, DevnetProcess, Member, trigger
from tests.acceptance.test_main_job import publish

TENANT_KEY = "VGVuYW50LUItb2YtdGhlLWZpcnN0LW5vZGUtMzItYnk="


def test_tenants_with_tokens_of_their_own_are_added_and_proven(
    tmp_path: Path,
    devnet_process: Callable[..., DevnetProcess],
    daemon_process: Callable[..., DaemonProcess],
    nats_url: str,
) -> None:
    """On multi-tenant nodes a second tenant of the owner's node and one of another node are added and proven."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public_file = tmp_path / "jwt.pem"
    public_file.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )

    def member(name: str, node: int, key: str) -> Member:
        token_file = tmp_path / f"{name}.jwt"
        claims = {
            "privacyPublicKey": key,
            "permissions": ["*:*"],
            "exp": datetime.now(UTC) + timedelta(hours=1),
        }
        token_file.write_text(jwt.encode(claims, private, algorithm="RS256"))
        token_file.chmod(0o600)
        return Member(name, node, key, token_file)

    options = ("--jwt-public-key-file", str(public_file), "--tenant-key", f"1={TENANT_KEY}")
    devnet = devnet_process("23.10.3", 0.5, *options)
    members = [
        member("tenant-a", 1, ENCLAVE_KEYS[0]),
        member("tenant-b", 1, TENANT_KEY),
        member("tenant-c", 2, ENCLAVE_KEYS[1]),
        member("tenant-d", 3, ENCLAVE_KEYS[2]),
    ]
    daemon = daemon_process(devnet, nats_url, members=members)
    asyncio.run(
        publish(
            nats_url,
            trigger("create", "create_group", (ENCLAVE_KEYS[0], ENCLAVE_KEYS[1])),
        )
    )
    assert daemon.settled("create")["state"] == "succeeded"
    asyncio.run(publish(nats_url, trigger("add", "add_members", (TENANT_KEY, ENCLAVE_KEYS[2]))))
    added = daemon.settled("add")
    assert added["state"] == "succeeded", added
    assert {entry["verdict"] for entry in added["progress"]} == {"in_sync"}
    asyncio.run(publish(nats_url, trigger("remove", "remove_members", (TENANT_KEY,))))
    assert daemon.settled("remove")["state"] == "succeeded"
    for name in ("tenant-a", "tenant-b", "tenant-c", "tenant-d"):
        assert (tmp_path / f"{name}.jwt").read_text() not in daemon.log.read_text()
