"""Asking a node, its WebSocket and its enclave who they are: no key signs, and no group changes.

A node compares a private transaction's private-from with its own key before it looks at anything else of it
(docs/besu.md#looking-before-leaping, 8): distributing one to a group that there is not tells whose the node is, and
reaches no enclave. An enclave looks for the private key of a sender before it looks for the recipients' hosts
(docs/besu.md#enclave-interface, 6).
"""

import base64
import json
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiohttp
import rlp
from eth_hash.auto import keccak

from orchestrator.besu.client.chain_node import ChainNode
from orchestrator.besu.client.node import Node
from orchestrator.besu.codec import answers
from orchestrator.besu.codec.identifiers import enclave_key_from_bytes, privacy_group_id_from_bytes
from orchestrator.besu.codec.json_rpc import Call
from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY
from orchestrator.besu.codec.node_identity import address_of_enode
from orchestrator.besu.codec.private_transaction import PrivateTransaction, join_signature
from orchestrator.besu.errors import (
    EnclaveKeyNotHostedError,
    GroupUnknownError,
    MethodNotEnabledError,
    MethodNotFoundError,
    UnrelatedRefusalError,
)
from orchestrator.besu.transport.websocket_client import NodeSocket
from orchestrator.doctor.findings import KeysSeen

KEYS: Final = 16
"""Keys that are tried, at most, of the node's and of the others' each."""

NOBODY: Final = enclave_key_from_bytes(keccak(b"besu-membership-orchestrator: the key of no enclave"))
"""Always the same recipient: Orion remembers each pair of sender and recipients that it was asked to send to."""

_SECONDS: Final = 10.0
_ANSWER_BYTES: Final = 1 << 16

Tried = Callable[[str], Awaitable[bool]]


class NotForClientsError(Exception):
    """What answers at an enclave's address takes no transactions; the message says what it said."""


async def keys_of_node(node: Node, chain_id: int, group: bytes, own: Sequence[str], others: Sequence[str]) -> KeysSeen:
    """Return which enclave keys a node acts as.

    Args:
        node: The node.
        chain_id: Its chain id.
        group: 32 bytes, the id of no group.
        own: The keys that the configuration names for it.
        others: Those that it names for other nodes.

    Raises:
        BesuError: It says something else.
    """

    async def acts_as(key: str) -> bool:
        try:
            await node.distribute_raw(unsigned(key, chain_id, group))
        except EnclaveKeyNotHostedError:
            return False
        # The next thing that a node looks at, so that the key was its own (docs/besu.md#looking-before-leaping, 8).
        except GroupUnknownError:
            return True
        return True

    return await _tried(acts_as, own, others)


async def keys_of_enclave(
    session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | None, own: Sequence[str], others: Sequence[str]
) -> KeysSeen:
    """Return which keys an enclave hosts; other nodes' only when one of its own is refused.

    Args:
        session: An HTTP session.
        url: The enclave's address for clients.
        tls: For "https"; None for the system's authorities.
        own: The keys that the configuration names for the enclave's node.
        others: Those that it names for other nodes.

    Raises:
        NotForClientsError: What answers there takes no transactions.
        aiohttp.ClientError, OSError, TimeoutError: It does not answer.
    """

    async def hosts(key: str) -> bool:
        # A text in base64 within base64, as Besu hands it over (docs/besu.md#enclave-interface, 2).
        payload = base64.b64encode(base64.b64encode(rlp.encode([rlp.decode(unsigned(key, 1, bytes(32))), bytes(32)])))
        body = {"payload": payload.decode("ascii"), "from": key, "to": [NOBODY]}
        limit = aiohttp.ClientTimeout(total=_SECONDS)
        async with session.post(
            f"{url.rstrip('/')}/send", json=body, timeout=limit, ssl=tls or True, allow_redirects=False
        ) as response:
            said = (await response.content.read(_ANSWER_BYTES)).decode("utf-8", "replace")
        # By the words of both kinds (docs/besu.md#enclave-interface, 6): whatever else listens there has a status, too.
        if "EnclaveNoMatchingPrivateKey" in said or "NoSenderKey" in said or "private key" in said.lower():
            return False
        if "NodeMissingPeerUrl" in said or "Recipient not found" in said or response.status == 200:
            return True
        raise NotForClientsError(f"/send is answered with HTTP status {response.status}")

    return await _tried(hosts, own, others)


async def is_node(session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | None) -> bool:
    """Return whether what answers at an address speaks JSON-RPC.

    Args:
        session: An HTTP session.
        url: The address.
        tls: For "https"; None for the system's authorities.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: It does not answer.
    """
    body = {"jsonrpc": "2.0", "id": 1, "method": "web3_clientVersion", "params": []}
    limit = aiohttp.ClientTimeout(total=_SECONDS)
    async with session.post(url, json=body, timeout=limit, ssl=tls or True, allow_redirects=False) as response:
        said = await response.content.read(_ANSWER_BYTES)
    try:
        answered = json.loads(said)
    except ValueError:
        return False
    return isinstance(answered, dict) and "jsonrpc" in answered


async def identity_behind(socket: NodeSocket) -> str:
    """Return the address of the node at the other end of a WebSocket; see `ChainNode.own_address`.

    Raises:
        BesuError: It does not tell.
    """
    try:
        return address_of_enode(await socket.ask(Call("net_enode")))
    except (MethodNotFoundError, MethodNotEnabledError, UnrelatedRefusalError):
        return answers.read_address(await socket.ask(Call("eth_coinbase"))).lower()


async def identity_of(node: ChainNode) -> str:
    """Return a node's own address, in lower case.

    Raises:
        BesuError: It does not tell.
    """
    return (await node.own_address()).lower()


def unsigned(enclave_key: str, chain_id: int, group: bytes) -> bytes:
    """Return a private transaction that nobody signed: its signature is made of ones, and fits some account.

    Args:
        enclave_key: Its private-from.
        chain_id: The chain id.
        group: The privacy group's id, 32 bytes.
    """
    transaction = PrivateTransaction(
        private_nonce=0,
        private_from=enclave_key,
        to=MANAGEMENT_PROXY,
        privacy_group_id=privacy_group_id_from_bytes(group),
        chain_id=chain_id,
    )
    return join_signature(transaction, 2 * chain_id + 35, 1, 1).raw


async def _tried(knows: Tried, own: Sequence[str], others: Sequence[str]) -> KeysSeen:
    found = [(key, await knows(key)) for key in own[:KEYS]]
    foreign = tuple(key for key, known in found if not known)
    # Only to say whose enclave it is instead; where all is well nobody else's keys are shown to it.
    strangers = [key for key in others[:KEYS] if await knows(key)] if foreign else []
    return KeysSeen(own=tuple(key for key, known in found if known), foreign=foreign, others=tuple(strangers))
