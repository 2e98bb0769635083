"""How the configured nodes are reached: each with its own credentials and certificates, and apart from the others'."""

import ssl
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

import aiohttp

from orchestrator.besu.adapter.port import BesuNode
from orchestrator.besu.client.enclave_probe import EnclaveProbe
from orchestrator.besu.client.node import Node
from orchestrator.besu.transport.credentials import Credential, RenewedToken
from orchestrator.besu.transport.http_client import HttpNode, open_session
from orchestrator.besu.transport.token_files import BasicCredential, TokenFile
from orchestrator.besu.transport.token_sources import TokenAddress, TokenCommand
from orchestrator.besu.transport.websocket_client import NodeSocket
from orchestrator.config import ConfigError, NodeConfig
from orchestrator.config.node_token_section import NodeTokenConfig

GATHER_SECONDS: Final = 0.002
"""How long a read waits for others: one new block wakes many lanes, and what they ask travels together."""

MOST_CONNECTIONS: Final = 100
"""To one node that has a session of its own; what is under way at a time is bounded below that."""


def tls_context(ca_file: str | None) -> ssl.SSLContext | None:
    """Return a TLS context that trusts an authority of its own, None for the system's."""
    return None if ca_file is None else ssl.create_default_context(cafile=ca_file)


def node_tls(node: NodeConfig) -> ssl.SSLContext | None:
    """Return how TLS is spoken with a node, our certificate in it where there is one; None for the system's way.

    Raises:
        ConfigError: A file can't be used.
    """
    if node.ca_file is None and node.certificate_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=None if node.ca_file is None else str(node.ca_file))
        if node.certificate_file is not None and node.key_file is not None:
            context.load_cert_chain(node.certificate_file, node.key_file, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"nodes: the files for TLS with {node.name} can't be used: {error}"]) from error
    return context


def _no_password() -> str:
    # Without this OpenSSL asks at the terminal.
    raise OSError("the key is encrypted: decrypt it, and let its file's mode protect it")


def node_credential(node: NodeConfig) -> Credential | None:
    """Return what proves us to a node; None for nothing.

    Raises:
        ConfigError: A file can't be used.
    """
    if node.token_file is not None:
        return TokenFile(node.token_file)
    if node.user is not None and node.password_file is not None:
        return BasicCredential(node.user, node.password_file)
    return None if node.token is None else _renewed(node.name, node.token)


def _renewed(name: str, token: NodeTokenConfig) -> RenewedToken:
    if token.command is not None:
        source: TokenCommand | TokenAddress = TokenCommand(
            arguments=token.command, timeout_seconds=token.timeout_seconds, now=time.time
        )
        return RenewedToken(source.issue, token.command[0], time.monotonic, token.lifetime_seconds)
    if token.url is None or token.client_id is None or token.client_secret_file is None:
        raise ConfigError([f"nodes: the token of {name} comes from nowhere"])
    try:
        tls = tls_context(None if token.ca_file is None else str(token.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"nodes: {token.ca_file} can't be used: {error}"]) from error
    source = TokenAddress(
        url=token.url,
        client_id=token.client_id,
        secret_file=token.client_secret_file,
        scope=token.scope,
        audience=token.audience,
        shown=token.client_authentication,
        tls=tls,
        timeout_seconds=token.timeout_seconds,
        now=time.time,
    )
    return RenewedToken(source.issue, token.url, time.monotonic, token.lifetime_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLine:
    """One node, reached.

    Attributes:
        http: Its JSON-RPC.
        session: The session under it, its own where it has credentials.
        credential: What proves us to it.
        tls: How TLS is spoken with it, and with its enclave.
    """

    http: HttpNode
    session: aiohttp.ClientSession
    credential: Credential | None
    tls: ssl.SSLContext | None


class NodeLines:
    """Reaches nodes: those without credentials by one session, each other one by a session of its own.

    Who stands before several tenants' nodes may bind what was shown to the connection: a connection that carried one
    tenant's credentials never carries another's requests.

    Args:
        stack: Closes the sessions.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._shared: aiohttp.ClientSession | None = None

    async def shared(self) -> aiohttp.ClientSession:
        """Return the session for what asks for no credentials."""
        if self._shared is None:
            self._shared = await self._stack.enter_async_context(open_session())
        return self._shared

    async def reach(self, node: NodeConfig, *, gather_seconds: float = 0.0) -> NodeLine:
        """Return the way to a node.

        Args:
            node: From the configuration.
            gather_seconds: How long a read waits for others to travel with.

        Raises:
            ConfigError: A file can't be used.
        """
        credential, tls = node_credential(node), node_tls(node)
        if credential is None:
            session = await self.shared()
        else:
            session = await self._stack.enter_async_context(open_session(max_connections=MOST_CONNECTIONS))
        http = HttpNode(session, node.http, credential=credential, tls=tls, gather_seconds=gather_seconds)
        return NodeLine(http=http, session=session, credential=credential, tls=tls)


async def connect_nodes(stack: AsyncExitStack, nodes: tuple[NodeConfig, ...]) -> list[BesuNode]:
    """Return the configured nodes, with a WebSocket each.

    Args:
        stack: Closes them.
        nodes: From the configuration.

    Raises:
        ConfigError: A file can't be used.
    """
    lines = NodeLines(stack)
    connected = []
    for configured in nodes:
        line = await lines.reach(configured, gather_seconds=GATHER_SECONDS)
        link: NodeSocket | None = None
        if configured.ws is not None:
            link = await stack.enter_async_context(
                NodeSocket(configured.ws, random=SystemRandom(), credential=line.credential, tls=line.tls)
            )
        node = Node(line.http, name=configured.name, version=configured.version)
        enclave = None
        if configured.enclave is not None:
            # The enclave is asked beside the node, never with the node's token.
            enclave = EnclaveProbe(
                await lines.shared(), configured.enclave, line.tls, parties_url=configured.enclave_parties
            )
        limit_bytes = configured.bundle_limit_bytes
        connected.append(
            BesuNode(configured.name, configured.enclave_keys, node, link, enclave, bundle_limit_bytes=limit_bytes)
        )
    return connected
