"""Tenants of one node: each has a token of its own and sees only its own groups."""

import asyncio
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.conftest import ENCLAVE_KEYS, DaemonProcess, DevnetProcess, Member, trigger
from tests.acceptance.test_main_job import publish
from tests.patience import patient

TENANT_KEY = "VGVuYW50LUItb2YtdGhlLWZpcnN0LW5vZGUtMzItYnk="
EXAMPLE = str(Path(__file__).parents[2] / "docs" / "examples" / "multi_tenancy.sh")


def run(*arguments: str) -> str:
    return subprocess.run(["sh", *arguments], check=True, capture_output=True, text=True, timeout=patient(60)).stdout


def test_tenants_with_tokens_of_their_own_are_added_and_proven(
    tmp_path: Path,
    devnet_process: Callable[..., DevnetProcess],
    daemon_process: Callable[..., DaemonProcess],
    nats_url: str,
) -> None:
    """On multi-tenant nodes a second tenant of the owner's node and one of another node are added and proven."""
    run(EXAMPLE, "keys", str(tmp_path))

    def member(name: str, node: int, key: str) -> Member:
        return Member(name, node, key, tmp_path / f"{name}.jwt")

    options = ("--jwt-public-key-file", str(tmp_path / "jwt.pub"), "--tenant-key", f"1={TENANT_KEY}")
    devnet = devnet_process("23.10.3", 0.5, *options)
    members = [
        member("tenant-a", 1, ENCLAVE_KEYS[0]),
        member("tenant-b", 1, TENANT_KEY),
        member("tenant-c", 2, ENCLAVE_KEYS[1]),
        member("tenant-d", 3, ENCLAVE_KEYS[2]),
    ]
    for tenant in members:
        addresses = (devnet.http(tenant.node), devnet.ws(tenant.node))
        printed = run(EXAMPLE, "tenant", str(tmp_path), tenant.name, *addresses, tenant.enclave_key, "1")
        assert tomllib.loads(printed)["nodes"] == [
            {
                "name": tenant.name,
                "http": addresses[0],
                "ws": addresses[1],
                "enclave_keys": [tenant.enclave_key],
                "token_file": f"{tenant.name}.jwt",
            }
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
