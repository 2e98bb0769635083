"""Playing a recording in which enclaves were killed, frozen, slowed and brought back between the exchanges.

The lines that say so are done to the devnet. What they leave out shows in the exchanges after them: whether a node lost
its peers over its enclave's death (it then shows old state, until it was restarted), and how long the script waited
after a return (a send that was taken tells that the enclaves knew each other again).
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from orchestrator.devnet import Devnet
from tests.contract.devnet.comparison import Comparison
from tests.contract.devnet.own_markers import ScriptDriver
from tests.contract.devnet.recording import SENDING, Exchange, Recording, needed_head

MEETING_SECONDS = 70.0
"""After so long all enclaves know each other again."""
WAITED_SECONDS = 3.0
"""A send that took so long waited for an enclave."""
STARTING_SECONDS = 8.0
"""What an enclave took to be back, at the least."""
ROOT = "priv_debugGetStateRoot"
COUNT = "priv_getTransactionCount"
READS = frozenset({ROOT, "priv_call"})
SLOWED = re.compile(r"frozen for ([\d.]+) s")
ENDED = re.compile(r"killed|SIGKILL|SIGTERM", re.IGNORECASE)
GOES_ON = re.compile(r"goes on|back|receive after restart")


def networks_with_faults(recording: Recording) -> Iterator[tuple[Recording, dict[str, Any]]]:
    """Split a recording where another network begins: where block numbers go back."""
    part: list[Exchange] = []
    newest = 0
    for step in _steps(recording.exchanges):
        numbers = [number for exchange in step if (number := _block_of(exchange)) is not None]
        if part and numbers and min(numbers) < newest:
            yield replace(recording, exchanges=tuple(part), mined_in=_mined(part)), {}
            part, newest = [], 0
        part += step
        newest = max([newest, *numbers])
    yield replace(recording, exchanges=tuple(part), mined_in=_mined(part)), {}


def _mined(exchanges: list[Exchange]) -> dict[str, int]:
    return {
        exchange.params[0]: int(exchange.result["blockNumber"], 16)
        for exchange in exchanges
        if exchange.method == "eth_getTransactionReceipt" and exchange.result is not None
    }


def _block_of(exchange: Exchange) -> int | None:
    result = exchange.result
    number = result.get("blockNumber") if isinstance(result, dict) else None
    return int(number, 16) if isinstance(number, str) else None


def _steps(exchanges: tuple[Exchange, ...]) -> Iterator[list[Exchange]]:
    step: list[Exchange] = []
    for exchange in exchanges:
        if step and exchange.step != step[0].step:
            yield step
            step = []
        step.append(exchange)
    yield step


class FaultDriver(ScriptDriver):
    """Does to the enclaves what the recording says was done."""

    def __init__(self, recording: Recording, devnet: Devnet, comparison: Comparison) -> None:
        super().__init__(recording, devnet, comparison)
        self._at = {exchange.line: at for at, exchange in enumerate(recording.exchanges)}
        self._struck: dict[int, str] = {}
        self._without_peers: set[int] = set()
        self._meeting = False

    def needed_head(self, exchange: Exchange) -> int:
        """The head that the network must have had; two transactions with one private nonce waited together."""
        at = self._at[exchange.line]
        if exchange.method in SENDING and isinstance(exchange.result, str) and not self._block_known(exchange):
            later = self._recording.exchanges[at + 1 :]
            counts = [item for item in later[:1] if item.method == COUNT and item.params == self._counted_before(at)]
            competitor = next((item for item in later[1:2] if item.method in SENDING and self._block_known(item)), None)
            if competitor is not None and counts and counts[0].result == self._recording.exchanges[at - 1].result:
                self.competing.add(competitor.result)
                return needed_head(self._recording, competitor)
        return needed_head(self._recording, exchange)

    def _block_known(self, exchange: Exchange) -> bool:
        return isinstance(exchange.result, str) and exchange.result in self._recording.mined_in

    def _counted_before(self, at: int) -> list[Any]:
        return self._recording.exchanges[at - 1].params

    async def mine(self, count: int) -> None:
        """Make blocks."""
        await self._call("devnet_mine", count)

    async def before(self, exchange: Exchange) -> None:
        """Do what a line says, or what an exchange shows was done before it."""
        if exchange.event is not None:
            await self._strike(exchange, exchange.event)
            return
        node = exchange.node or 1
        if node in self._without_peers and self._shows_the_present(exchange):
            await self._restart(node)  # as somebody did between the lines
        met = exchange.method in SENDING and exchange.result is not None
        if self._meeting and met and exchange.elapsed_seconds < WAITED_SECONDS:
            self._meeting = False
            await self._pass(MEETING_SECONDS)
        if exchange.method in SENDING:
            return
        if exchange.method == COUNT and exchange.result is not None:
            counted = await self._call(COUNT, *exchange.params)
            if int(counted, 16) < int(exchange.result, 16):
                await self.mine(1)  # the block of a transaction that nobody asked for a receipt of

    async def _strike(self, exchange: Exchange, event: str) -> None:
        slowed = SLOWED.search(event)
        nodes = self._nodes_in(event)
        if slowed is not None:
            # The send began with it, whenever its line was written.
            for node in nodes:
                await self._call("devnet_setEnclave", node, "frozen", float(slowed.group(1)))
                self._meeting = True
        elif ENDED.search(event):
            for node in nodes:
                self._struck[node] = "killed"
                loses = node not in self._without_peers and self._ends_without_peers(exchange, node)
                if loses:
                    self._without_peers.add(node)
                await self._call("devnet_setEnclave", node, "killed", loses)
        elif "frozen" in event:
            for node in nodes:
                self._struck[node] = "frozen"
                await self._call("devnet_setEnclave", node, "frozen")
        elif GOES_ON.search(event):
            for node, condition in self._struck.items():
                if condition == "killed":
                    await self._pass(STARTING_SECONDS)
                await self._call("devnet_setEnclave", node, "up")
                self._meeting = True
            self._struck.clear()
        else:
            raise AssertionError(f"line {exchange.line}: nobody knows how to play {event!r}")

    @staticmethod
    def _nodes_in(event: str) -> list[int]:
        return [1, 2, 3] if event.startswith("all") else [int(found) for found in re.findall(r"enclave (\d)", event)]

    def _ends_without_peers(self, event: Exchange, node: int) -> bool:
        """Whether the first root that the node shows after its enclave's return is an old one, or none."""
        later = self._recording.exchanges[self._at[event.line] :]
        back = next((at for at, item in enumerate(later) if item.event and GOES_ON.search(item.event)), len(later))
        seen = next((item for item in later[back:] if item.method == ROOT and item.node == node), None)
        return seen is not None and self._is_old(seen)

    def _is_old(self, shown: Exchange) -> bool:
        """Whether a node shows another root of a group than node 1 did just before."""
        before = self._recording.exchanges[: self._at[shown.line]]
        first = next(
            (e for e in reversed(before) if e.method == ROOT and e.node == 1 and e.params[0] == shown.params[0]), None
        )
        return first is not None and shown.node != 1 and first.result != shown.result

    def _shows_the_present(self, exchange: Exchange) -> bool:
        """Whether a node is read that shows, in the same row of reads, the root that node 1 shows."""
        at = self._at[exchange.line]
        beside = self._recording.exchanges[max(at - 1, 0) : at + 2]
        roots = [item for item in beside if item.method == ROOT and item.node == exchange.node]
        return exchange.method in READS and bool(roots) and not self._is_old(roots[0])

    async def _pass(self, seconds: float) -> None:
        """Let time pass, and the network see it."""
        await self._call("devnet_advanceTime", seconds)
        await self._call("devnet_status")

    async def _restart(self, node: int) -> None:
        self._without_peers.discard(node)
        for up in (False, True):
            await self._call("devnet_setNode", node, up)

    async def _call(self, method: str, *params: Any) -> Any:
        return await self._devnet.call(1, method, list(params))
