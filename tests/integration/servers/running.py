"""A whole daemon in the test's process, on servers of the test's choice; its one node is down."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from orchestrator.app import run_daemon
from orchestrator.config import Config, load_config
from orchestrator.membership.news.status import EventType, StatusEvent
from tests.patience import patient

PATIENCE_SECONDS = 40.0
"""A busy machine is slow; what is claimed of time is the sum of the daemon's own intervals."""


def configured(folder: Path, store: str, broker: str) -> Config:
    (folder / "owner.key").touch(mode=0o600)
    (folder / "owner.key").write_text("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
    (folder / "orchestrator.toml").write_text(
        f"""
[store]
url = "{store}"
[broker]
url = "{broker}"
[api]
listen = "127.0.0.1:0"
[[nodes]]
name = "member1"
http = "http://127.0.0.1:1"
enclave_keys = ["BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="]
[[accounts]]
address = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
key_file = "owner.key"
"""
    )
    return load_config(folder / "orchestrator.toml", {})


@dataclass(frozen=True)
class Running:
    """A daemon, seen from outside."""

    url: str
    session: aiohttp.ClientSession
    said: list[Any]

    async def told(self, what: str, *, works: bool, detail: str = "") -> None:
        """Wait until readiness, metrics and log agree on whether something works."""

        async def seen() -> bool:
            async with self.session.get(f"{self.url}/readyz") as answer:
                checks = {check["name"]: check for check in (await answer.json())["checks"]}
            if checks[what]["ok"] is not works or detail not in checks[what]["detail"]:
                return False
            async with self.session.get(f"{self.url}/metrics") as answer:
                if f'orchestrator_working{{what="{what}"}} {1.0 if works else 0.0}' not in await answer.text():
                    return False
            words = "works again" if works else "does not work now"
            return any(entry["event"] == words and entry.get("what") == what for entry in self.said)

        await until(seen)


async def until(seen: Callable[[], Any]) -> None:
    async with asyncio.timeout(patient(PATIENCE_SECONDS)):
        while not await seen():  # noqa: ASYNC110 - servers and metrics have no event to wait for
            await asyncio.sleep(0.5)


@asynccontextmanager
async def daemon_on(config: Config) -> AsyncIterator[Running]:
    stopping, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    with structlog.testing.capture_logs() as said:
        running = asyncio.create_task(run_daemon(config, stopping, ready.set_result))
        try:
            await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_SECONDS)
            if running.done():
                await running
            async with aiohttp.ClientSession() as session:
                yield Running(await ready, session, said)
            assert not running.done()
        finally:
            stopping.set()
            await asyncio.wait_for(running, patient(PATIENCE_SECONDS))


def status(group: str, kind: EventType, **data: str) -> StatusEvent:
    """A status event of a group that belongs to no change."""
    return StatusEvent(type=kind, privacy_group_id=group, change_id=None, request_id=None, data=data)
