"""A daemon with one lying node and a hostile queue goes on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.acceptance.conftest import ENCLAVE_KEYS, DaemonProcess, DevnetProcess, trigger, wait_until
from tests.acceptance.test_main_job import dead_letters, publish
from tests.hostile.campaigns import _FILLED
from tests.hostile.lying_node import Liar, recorded_results, serving

POISON = b'{"specversion":"1.0","id":"p","source":"s","type":"membership.change.requested.v1","data_base64":"\xc3\xa9"}'


@dataclass(frozen=True)
class DevnetWithLiar(DevnetProcess):
    """A devnet whose third node is reached only through somebody who lies."""

    liar: str

    def http(self, node: int) -> str:
        return self.liar if node == 3 else super().http(node)


async def test_a_lying_node_and_a_hostile_queue_stop_nobody(
    devnet_process: Callable[..., DevnetProcess], daemon_process: Callable[..., DaemonProcess], nats_url: str
) -> None:
    """Messages that can't be read are dead letters, the one behind them is accepted; the process goes on."""
    random = Random(1)  # noqa: S311 - a plan that can be repeated
    hostile = [POISON, *(fill(random)[: 256 * 1024] for fill in _FILLED[:-1])]
    with serving(Liar(1, recorded_results())) as liar:
        honest = await asyncio.to_thread(devnet_process)
        devnet = DevnetWithLiar(honest.base_port, liar)
        daemon = await asyncio.to_thread(daemon_process, devnet, nats_url)
        await publish(nats_url, *hostile, trigger("create", "create_group", ENCLAVE_KEYS[:2]))
        letters = await dead_letters(nats_url, len(hostile))
        assert {body for _, body in letters} == set(hostile)
        accepted = await asyncio.to_thread(wait_until, "acceptance", daemon.changes)
        assert [change["request_id"] for change in accepted] == ["create"]
        await asyncio.to_thread(wait_until, "readiness", lambda: daemon.get("/readyz")["ready"])
        assert daemon.running.poll() is None
        assert "Traceback" not in await asyncio.to_thread(daemon.log.read_text)
