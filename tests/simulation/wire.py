"""The way from a replica to a node: the emulated node answers in this process, and the way loses what the seed says."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.besu.adapter.port import BesuNode
from orchestrator.besu.codec.answers import read_head
from orchestrator.besu.codec.json_rpc import Answer, Call, result_of
from orchestrator.besu.codec.rpc_errors import rpc_error
from orchestrator.besu.errors import (
    BesuError,
    ConnectionLostError,
    HttpStatusError,
    NodeTimeoutError,
    NodeUnreachableError,
)
from orchestrator.besu.transport.http_client import is_read
from orchestrator.devnet.faults import TRANSPORT, FaultKind, RpcFault
from orchestrator.devnet.rpc.dispatch import Answer as NodeAnswer
from orchestrator.devnet.rpc.dispatch import Caller, NodeApi
from orchestrator.engine.ports.nodes import Head, NodeError
from orchestrator.engine.runtime.leases import require_to_send
from orchestrator.membership.reasons.table import Reason
from tests.simulation import lateness
from tests.simulation.proxy import Silence
from tests.simulation.world import Life, World

READ_TRIES = 3
TIMEOUT_SECONDS = 10.0
PROXY_LAG_BLOCKS = 2
SENDS = frozenset({"eea_sendRawTransaction", "eth_sendRawTransaction", "priv_distributeRawTransaction"})


class Wire:
    """One node's JSON-RPC, as `orchestrator.besu.transport.http_client.HttpNode` offers it.

    Args:
        world: Where it is.
        api: The node at the other end.
        life: Of the replica that asks.
    """

    def __init__(self, world: World, api: NodeApi, life: Life) -> None:
        self.url = f"node-{api.node.number}"
        self._world = world
        self._api = api
        self._life = life

    async def call(self, method: str, *params: Any, timeout: float | None = None) -> Any:
        (answer,) = await self._exchange([Call(method, params)], timeout or TIMEOUT_SECONDS)
        return result_of(answer)

    async def batch(self, calls: Sequence[Call], *, timeout: float | None = None) -> list[Answer]:
        return await self._exchange(calls, timeout or TIMEOUT_SECONDS) if calls else []

    async def _exchange(self, calls: Sequence[Call], timeout: float) -> list[Answer]:
        tries = READ_TRIES if all(is_read(call.method) for call in calls) else 1
        while True:
            tries -= 1
            try:
                return await self._exchange_once(calls, timeout)
            except NodeTimeoutError:
                raise
            except BesuError:
                if not tries:
                    raise
                await asyncio.sleep(0.1)

    async def _exchange_once(self, calls: Sequence[Call], timeout: float) -> list[Answer]:
        world, profile = self._world, self._world.profile
        what = next((call for call in calls if call.method in SENDS), calls[0])
        sends = what.method in SENDS
        await self._life.moment(f"{self.url} {what.method}")
        if not self._api.node.up:
            raise NodeUnreachableError(f"no connection to {self.url}")
        if sends:
            require_to_send()
            world.checks.leaves(self._life, what.method, what.params[0])
            world.checks.sent(self._life, what.method, what.params[0])
        fault = world.emulation.controls.faults.take(
            self._api.node.number, [call.method for call in calls], TRANSPORT, in_batch=len(calls) > 1
        )
        if fault is not None:
            await self._meet(fault, timeout)
        if world.happens(profile.refusal):
            raise HttpStatusError(f"{self.url} answered 503", status=503)
        if world.happens(profile.lost_request):
            world.say(f"{self.url} loses the request")
            raise ConnectionLostError(f"the connection to {self.url} broke")
        silence, place = world.proxy.pass_on(self.url, calls) if world.proxy is not None else (None, 0)
        late = world.happens(profile.late_request)
        delay = world.chance.uniform(timeout, 3 * timeout) if late else 0.0
        late = late or silence is Silence.LATE_ANSWER
        at_node = self._at_node(calls, delay, lags=silence is Silence.LATE_REPLICA)
        work = world.spawn(at_node) if sends or late else at_node
        if late:
            await asyncio.sleep(timeout)
            raise NodeTimeoutError(f"{self.url} did not answer within {timeout:g} s")
        answers = await (asyncio.shield(work) if isinstance(work, asyncio.Task) else work)
        await self._life.moment(f"{self.url} answers {what.method}")
        if fault is not None and fault.kind in (FaultKind.LOST, FaultKind.HALF):
            raise ConnectionLostError(f"the connection to {self.url} broke")
        if answers is None or silence is Silence.LOST_ANSWER or world.happens(profile.lost_answer):
            world.say(f"{self.url} loses the answer to {what.method}")
            raise ConnectionLostError(f"the connection to {self.url} broke")
        if silence is Silence.NULL:
            answers[place] = replace(answers[place], error=None, result=None)
        return answers

    async def _meet(self, fault: RpcFault, timeout: float) -> None:
        """Meet what was armed by ``devnet_rpcFault`` before the node is asked."""
        if fault.kind is FaultKind.STATUS:
            raise HttpStatusError(f"{self.url} answered {fault.status}", status=fault.status)
        if fault.kind is FaultKind.RESET:
            raise ConnectionLostError(f"the connection to {self.url} broke")
        await asyncio.sleep(min(fault.seconds, timeout))
        if fault.seconds >= timeout:
            raise NodeTimeoutError(f"{self.url} did not answer within {timeout:g} s")

    def _runs(self) -> bool:
        return self._api.node.up

    async def _at_node(self, calls: Sequence[Call], delay: float, *, lags: bool) -> list[Answer] | None:
        await asyncio.sleep(delay + self._world.latency())
        if not self._runs():
            return None
        known, caller = self._known(calls, lags=lags), Caller(lag_seconds=self._api.next_lag())
        answers = []
        for number, call in enumerate(calls):
            self._world.advance()
            asked = call if known is None else lateness.asked_of(call, known)
            request = {"jsonrpc": "2.0", "id": number, "method": asked.method, "params": list(asked.params)}
            answer: NodeAnswer = self._api.handle(request, caller)
            if answer.later is not None and answer.finish is not None:
                await asyncio.sleep(answer.later.delay_seconds)
                self._world.advance()
                answer = answer.finish()
            answers.append(self._as_known(call, _read(number, answer.response or {}), known))
        return answers if self._runs() else None

    def _known(self, calls: Sequence[Call], *, lags: bool) -> int | None:
        """The newest block of a replica that lags and is asked just now; None when the newest one answers."""
        world = self._world
        if not all(is_read(call.method) for call in calls):
            return None
        if lags:
            return max(self._api.node.head.number - PROXY_LAG_BLOCKS, 0)
        if not world.happens(world.profile.late_replica):
            return None
        return max(self._api.node.head.number - world.chance.randint(1, 3), 0)

    def _as_known(self, call: Call, answer: Answer, known: int | None) -> Answer:
        if answer.error is not None:
            return answer
        if known is not None:
            return replace(answer, result=lateness.answered(self._api, call, answer.result, known))
        if call.method == "priv_getTransactionReceipt" and answer.result is not None and self._world.stormy:
            chain = self._world.emulation.network.chain
            seconds = self._world.profile.late_receipts[self._api.node.number - 1]
            if self._world.loop.time() < chain.arrived_at(int(answer.result["blockNumber"], 16)) + seconds:
                return replace(answer, result=None)
        return answer


def _read(number: int, response: dict[str, Any]) -> Answer:
    error = response.get("error")
    if error is not None:
        return Answer(number, error=rpc_error(error["code"], error["message"], error.get("data")))
    return Answer(number, result=response["result"])


class _Socket:
    """One WebSocket connection."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[str | None] = asyncio.Queue()

    def push(self, frame: str) -> None:
        self.frames.put_nowait(frame)


class SimulatedNode(BesuNode):
    """`BesuNode` whose heads come over a simulated socket."""

    def __init__(self, world: World, api: NodeApi, life: Life, node: Any) -> None:
        super().__init__(f"node-{api.node.number}", api.node.enclave.keys, node, None)
        self._world = world
        self._api = api
        self._life = life

    async def heads(self) -> AsyncIterator[Head]:
        await self._life.moment(f"{self.name} subscribe")
        if not self._api.node.up:
            raise NodeError(Reason(slug="node_unreachable", detail=f"node {self.name}: no WebSocket"))
        socket = _Socket()
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
        self._api.handle(request, Caller(connection=socket))
        self._world.sockets.setdefault(self._api.node.number, []).append(socket.frames)
        try:
            while True:
                frame = await socket.frames.get()
                if frame is None:
                    raise NodeError(Reason(slug="node_unreachable", detail=f"node {self.name}: WebSocket lost"))
                await self._life.moment(f"{self.name} announces")
                head = read_head(json.loads(frame)["params"]["result"])
                yield Head(
                    number=head.number,
                    block_hash=head.hash,
                    parent_hash=head.parent_hash,
                    transactions=head.transaction_hashes,
                )
        finally:
            self._api.subscriptions.forget(socket)
            self._world.sockets[self._api.node.number].remove(socket.frames)
