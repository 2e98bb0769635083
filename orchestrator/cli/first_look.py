"""A first look at nodes that are to be configured: do they answer, which Besu, which chain, is there a WebSocket?"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from aiohttp import ClientSession

from orchestrator.besu.client.node import Node
from orchestrator.besu.errors import BesuError
from orchestrator.besu.transport.http_client import HttpNode, open_session
from orchestrator.besu.transport.token_files import TokenFile
from orchestrator.besu.transport.websocket_client import NodeSocket
from orchestrator.config.values import check_http_url, check_ws_url
from orchestrator.outside_text import one_line, presentable

ANSWER_SECONDS: Final = 15.0
CONNECT_SECONDS: Final = 4.0
_WORDS: Final = 120
_PERIOD_BLOCKS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen of a node.

    Attributes:
        name: How it is to be called.
        http: Its address.
        ws: Its WebSocket address; None when none answers.
        chain_id: What it says; None when it does not answer.
        client: Its name and version, as it says them.
        period_seconds: Between two blocks, to half a second; None where that can't be told, or blocks come faster.
        trouble: Why it can't be configured; empty when it can.
    """

    name: str
    http: str
    ws: str | None = None
    chain_id: int | None = None
    client: str = ""
    period_seconds: float | None = None
    trouble: str = ""

    @property
    def words(self) -> str:
        """What was seen, in a line."""
        socket = "new blocks by WebSocket" if self.ws else "no WebSocket: its head is polled"
        return f"{self.name}  {self.client}, chain id {self.chain_id}, {socket}"

    @property
    def comment(self) -> str:
        """The same for the configuration."""
        return f"{self.client}, chain id {self.chain_id} when this was written."


async def look_at(nodes: Mapping[str, str], ws: Mapping[str, str], token_files: Mapping[str, Path]) -> tuple[Look, ...]:
    """Return what was seen of nodes; all are asked at the same time, each within `ANSWER_SECONDS`.

    Args:
        nodes: HTTP addresses by name.
        ws: WebSocket addresses by name; of others the port behind the HTTP one is tried, as Besu has it by default.
        token_files: Files with tokens by name.
    """
    async with open_session() as session:
        looks = [_look(session, name, http, ws.get(name), token_files.get(name)) for name, http in nodes.items()]
        return tuple(await asyncio.gather(*looks))


async def _look(session: ClientSession, name: str, http: str, ws: str | None, token_file: Path | None) -> Look:
    try:
        address = check_http_url(http)
        if ws is not None:
            check_ws_url(ws)
    except ValueError as error:
        return Look(name=name, http=http, trouble=f"{http}: {error}")
    token = None if token_file is None else TokenFile(token_file)
    node = Node(HttpNode(session, address, credential=token), name=name)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            client = await node.http.call("web3_clientVersion")
            chain_id = await node.chain_id()
            period = await _period(node)
            socket = await _answering(ws or _guessed(address), token)
    except BesuError as error:
        return Look(name=name, http=address, trouble=one_line(str(error)))
    except TimeoutError:
        return Look(name=name, http=address, trouble=f"{address} did not answer within {ANSWER_SECONDS:g} s")
    # An address that was given is meant; one that was guessed may lead nowhere.
    if ws is not None and socket is None:
        return Look(name=name, http=address, trouble=f"nothing answers at {ws}; leave --ws out to do without")
    return Look(
        name=name,
        http=address,
        ws=socket,
        chain_id=chain_id,
        client=presentable(str(client), _WORDS),
        period_seconds=period,
    )


async def _period(node: Node) -> float | None:
    head = await node.head()
    blocks = min(head.number - 1, _PERIOD_BLOCKS)  # the first block's time is that of its genesis file
    if blocks < _PERIOD_BLOCKS // 5:
        return None
    earlier = await node.header(head.number - blocks)
    # Blocks' times are whole seconds and blocks come late at times: more than half a second of it is not known.
    return round(2 * (head.timestamp - earlier.timestamp) / blocks) / 2 or None


def _guessed(http: str) -> str | None:
    parts = urlsplit(http)
    if parts.port is None or parts.hostname is None:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    # Besu's own default, 8545 and 8546; where it is wrong nothing answers, and the head is polled.
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, f"{host}:{parts.port + 1}", "", "", ""))


async def _answering(url: str | None, token: TokenFile | None) -> str | None:
    """Return a WebSocket address when a connection to it can be made."""
    if url is None:
        return None
    async with NodeSocket(url, random=SystemRandom(), credential=token) as socket:
        return url if await socket.wait_connected(CONNECT_SECONDS) else None
