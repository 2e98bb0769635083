"""A guard in front of a devnet node's enclave, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp

from orchestrator.besu.adapter.port import BesuNode
from orchestrator.besu.client.node import Node
from orchestrator.besu.transport.http_client import HttpNode, open_session
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.guard.chain_view import FactReader
from orchestrator.guard.histories import MemoryHistories
from orchestrator.guard.judge import Judge, JudgeSettings
from orchestrator.guard.listener import listening
from orchestrator.guard.payloads import PayloadReader, Payloads
from orchestrator.guard.proxy import EnclaveProxy, Upstream
from orchestrator.guard.settled_heads import SETTLED_AFTER, SettledHeads
from orchestrator.guard.witnesses import Witnesses
from orchestrator.membership.guard.judgement import GuardRules
from orchestrator.membership.guard.received_bundles import Approval
from orchestrator.store.guard.decisions import Decided, DecisionFile
from tests.fakes.guarded_network import GuardedNetwork

ALL_SAFE = GuardRules()


class Guard:
    """A running guard.

    Attributes:
        proxy: What passes through.
        judge: What judges.
        decisions: What was decided.
        url: Where it answers.
        told: The decisions that subscribers would be told.
        heads: How far the node's chain is settled.
    """

    def __init__(
        self,
        proxy: EnclaveProxy,
        judge: Judge,
        decisions: DecisionFile,
        url: str,
        told: list[Decided],
        port: AsyncExitStack,
        heads: SettledHeads,
    ) -> None:
        self.heads = heads
        self.proxy = proxy
        self.judge = judge
        self.decisions = decisions
        self.url = url
        self.told = told
        self._port = port

    async def stop(self) -> None:
        """Close its port: whoever asks meets nobody."""
        await self._port.aclose()

    @property
    def reasons(self) -> list[str]:
        """Why bundles were passed or refused, oldest first."""
        return [decided.decision.slug for decided in self.decisions.all()]


async def ended(task: asyncio.Future[None]) -> None:
    """End a task that goes on for ever."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def guard(
    network: GuardedNetwork,
    number: int,
    rules: GuardRules = ALL_SAFE,
    *,
    file: Path | None = None,
    approvals: tuple[Approval, ...] = (),
    witnesses: tuple[int, ...] = (),
    settings: JudgeSettings | None = None,
    settled_after: timedelta = SETTLED_AFTER,
) -> AsyncIterator[Guard]:
    """Put a guard between a node and its enclave; taken out again at the end."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        nodes = []
        for one in (number, *witnesses):
            seen = network.devnet.nodes[one - 1]
            http = HttpNode(session, seen.http_url)
            nodes.append((http, BesuNode(f"member{one}", (seen.enclave_key,), Node(http, name=f"member{one}"), None)))
        clock = SystemClock()
        https = {node.name: http for http, node in nodes}
        fleet = Fleet([ChainWatcher(node, clock, timedelta(seconds=1)) for _, node in nodes])
        reader = FactReader(
            fleet,
            fleet.watchers[0],
            nodes[0][0],
            MemoryHistories(),
            lambda bundle: any(approval.covers(bundle) for approval in approvals),
            Witnesses(fleet, fleet.watchers[0], https, lambda _bundle: rules.refuse_unconfirmed),
        )
        told: list[Decided] = []
        decisions = DecisionFile(file)
        judge_settings = settings or JudgeSettings(rules=rules)
        judge = Judge(reader, decisions, judge_settings, clock, told.append)
        heads = SettledHeads(settled_after)
        judge.payloads = Payloads(
            PayloadReader(fleet, fleet.watchers[0], reader.is_pending),
            heads,
            decisions.newest,
            judge.keep,
            clock,
            judge_settings.within,
        )
        following = asyncio.ensure_future(judge.payloads.run())
        stack.push_async_callback(ended, following)
        stack.push_async_callback(judge.close)
        enclave = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False, trust_env=False))
        upstream = Upstream(url=network.devnet.nodes[number - 1].enclave_url)
        proxy = EnclaveProxy(enclave, upstream, judge, largest_bundle_bytes=64 << 20)
        port = await stack.enter_async_context(AsyncExitStack())
        url = await port.enter_async_context(listening(proxy.answer, "127.0.0.1:0"))
        await network.call(1, "devnet_setEnclaveUrl", number, url)
        try:
            yield Guard(proxy, judge, decisions, url, told, port, heads)
        finally:
            await network.call(1, "devnet_setEnclaveUrl", number, None)
