"""The public npm client works on the devnet as it does on a real node of that version."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from tests.patience import patient

HERE = Path(__file__).parent
CLIENT = HERE.parents[1] / "clients" / "web3js-quorum" / "node_modules"
EXAMPLE = CLIENT / "web3js-quorum" / "example" / "onChainPrivacy" / "addRemoveExample.js"
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What a script left behind."""

    code: int | None
    out: str
    err: str

    def result(self) -> Any:
        """What the flow wrote on its last line; the client writes others while it waits."""
        return json.loads(self.out.splitlines()[-1])


async def run_node(devnet: Devnet, *arguments: str) -> Ran:
    """Run a script with the client's packages and the devnet's addresses."""
    assert CLIENT.is_dir(), "the JavaScript client is not installed; run make setup"
    urls = [node.http_url for node in devnet.nodes]
    process = await asyncio.create_subprocess_exec(
        "node",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(CLIENT), "DEVNET_HTTP_URLS": ",".join(urls)},
    )
    try:
        async with asyncio.timeout(patient(TIMEOUT_SECONDS)):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ran(process.returncode, out.decode(), err.decode())


def config(version: str) -> DevnetConfig:
    return DevnetConfig(base_port=0, block_period_seconds=0.2, besu_version=version, replay_ms_per_transaction=1)


async def test_the_client_creates_finds_adds_and_removes_on_22_4_4() -> None:
    """Create, find, addTo, getParticipants on the new node, removeFrom."""
    async with running_devnet(config("22.4.4")) as devnet:
        ran = await run_node(devnet, str(HERE / "flow.js"), *(node.http_url for node in devnet.nodes))
        keys = [node.enclave_key for node in devnet.nodes]

    assert ran.code == 0, ran
    assert ran.result() == {
        "statuses": ["0x1", "0x1", "0x1"],
        "found": [True],
        "foundByThird": [keys],
        "members": keys,
        "remaining": keys[:2],
    }


async def test_the_client_s_own_example_runs_on_22_4_4() -> None:
    """Its published example of adding and removing, unmodified, on other ports."""
    async with running_devnet(config("22.4.4")) as devnet:
        ran = await run_node(devnet, "--require", str(HERE / "ports.js"), str(EXAMPLE))

    assert ran.code == 0, ran
    assert "Removed third participant from privacy group" in ran.out
    assert "status: '0x0'" not in ran.out


@pytest.mark.parametrize("version", ["22.10.0", "23.10.3", "25.4.1"])
async def test_the_client_fails_on_later_versions_as_on_the_real_node(version: str) -> None:
    """It speaks the old dialect, which these nodes do not take for an add, so the group does not exist for them."""
    async with running_devnet(config(version)) as devnet:
        ran = await run_node(devnet, str(HERE / "flow.js"), *(node.http_url for node in devnet.nodes))

    assert ran.code == 1
    assert "Flexible Privacy group does not exist." in ran.result()["error"]


async def test_the_client_cannot_find_groups_on_21_1_7() -> None:
    """That version calls the method by another name."""
    async with running_devnet(config("21.1.7")) as devnet:
        ran = await run_node(devnet, str(HERE / "flow.js"), *(node.http_url for node in devnet.nodes))

    assert ran.code == 1
    assert "Method not found" in ran.result()["error"]
