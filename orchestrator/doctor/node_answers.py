"""Asking nodes and enclaves what an inspection judges; every question has a limit of time and of size."""

import asyncio
import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import aiohttp

from orchestrator.besu.client.node import Node
from orchestrator.besu.codec.results import Head
from orchestrator.besu.errors import BesuError
from orchestrator.besu.transport.credentials import Credential
from orchestrator.besu.transport.websocket_client import NodeSocket
from orchestrator.doctor import questions
from orchestrator.doctor.enclave import ask_enclave
from orchestrator.doctor.findings import (
    EnclaveSeen,
    Expected,
    HeadDelivered,
    KeysSeen,
    NextBlock,
    NodeSeen,
    NodeSilent,
    Unanswered,
)
from orchestrator.doctor.proofs import identity_behind, identity_of, keys_of_node
from orchestrator.doctor.questions import asked

CONNECT_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 120.0
"""For a head over WebSocket, however slow the chain is."""

OWNER_QUESTIONS: Final = 512
GROUPS: Final = 100
"""Whose members are tried for the key of a node that acts as none of the configured ones."""

STANDS_BLOCKS: Final = 5
"""So far behind the newest block a node stands still for sure, also while no block is made just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One node to inspect, as it is configured.

    Attributes:
        node: Its HTTP side.
        enclave_keys: The keys that its enclave hosts.
        ws_url: Its WebSocket address; None when there is none.
        enclave_url: Its enclave's address for clients; None when there is none.
        credential: What proves us to it.
        tls: For "wss" and for an enclave's "https"; None for the system's.
    """

    node: Node
    enclave_keys: tuple[str, ...]
    ws_url: str | None = None
    enclave_url: str | None = None
    credential: Credential | None = None
    tls: ssl.SSLContext | None = None


Heard = HeadDelivered | Unanswered | None
"""The first head that a WebSocket delivers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """Asks nodes.

    Attributes:
        session: For enclaves.
        random: Spreads reconnections.
        now: The local clock, seconds since 1970.
        expected: What the configuration expects.
        member_sets: Sets of enclave keys that an offchain group may have.
    """

    session: aiohttp.ClientSession
    random: Random
    now: Callable[[], float]
    expected: Expected
    member_sets: Sequence[tuple[str, ...]] = ()

    async def inspect(self, targets: Sequence[Target]) -> tuple[NodeSeen | NodeSilent, ...]:
        """Return what was seen of each node; all are asked at the same time."""
        keys = [key for target in targets for key in target.enclave_keys]
        return tuple(await asyncio.gather(*(self.inspect_node(target, keys) for target in targets)))

    async def inspect_node(self, target: Target, keys: Sequence[str] = ()) -> NodeSeen | NodeSilent:
        """Return what was seen of a node.

        Args:
            target: The node.
            keys: The enclave keys of all configured nodes.
        """
        node = target.node
        # By itself first: a node that does not tell its head tells nothing, and each other question would wait as long.
        head = await asked(node.head())
        if isinstance(head, Unanswered):
            return NodeSilent(node.name, node.http.url, head)
        # Right when the head came: its age is judged by this, however long the other questions take.
        seen_at = self.now()
        others = [key for key in keys if key not in target.enclave_keys]
        period = await asked(questions.block_seconds(node, head))
        async with asyncio.TaskGroup() as asking:
            find = asking.create_task(questions.find(node, target.enclave_keys))
            offchain = asking.create_task(asked(questions.answers_offchain(node, target.enclave_keys)))
            socket = asking.create_task(self._socket(target, period))
            enclave = asking.create_task(self._enclave(target, others))
            markers = asking.create_task(asked(questions.markers(node, target.enclave_keys, head)))
            client = asking.create_task(asked(node.client_version()))
            batches = asking.create_task(asked(questions.most_in_batch(node)))
            distributes = asking.create_task(asked(questions.distributes(node)))
            chain_id = asking.create_task(asked(node.chain_id()))
            genesis = asking.create_task(asked(questions.genesis(node)))
            api_groups = asking.create_task(asked(node.api_groups()))
            validator = asking.create_task(asked(questions.validates(node)))
            peers = asking.create_task(asked(node.peer_count()))
            syncing = asking.create_task(asked(node.syncing()))
            gas_price = asking.create_task(asked(questions.quantity(node, "eth_gasPrice")))
            base_fee = asking.create_task(asked(questions.base_fee(node)))
            acting = asking.create_task(_acts_as(target, others))
            identity = asking.create_task(asked(identity_of(node)))
        found = find.result()
        groups = found if isinstance(found, Unanswered) else found[1]
        heard, behind = socket.result()
        foreign = await asked(questions.foreign(node, groups))
        return NodeSeen(
            name=node.name,
            url=node.http.url,
            ws_url=target.ws_url or "",
            enclave_url=target.enclave_url or "",
            enclave_keys=target.enclave_keys,
            seen_at=seen_at,
            client=client.result(),
            configured_version=node.known_version,
            most_in_batch=batches.result(),
            distributes=distributes.result(),
            chain_id=chain_id.result(),
            genesis=genesis.result(),
            api_groups=api_groups.result(),
            find_method=found if isinstance(found, Unanswered) else found[0],
            groups=groups,
            foreign_groups=foreign,
            offchain_answered=offchain.result(),
            validator=validator.result(),
            peers=peers.result(),
            syncing=syncing.result(),
            head=head,
            block_seconds=period if isinstance(period, float) else None,
            gas_price=gas_price.result(),
            base_fee=base_fee.result(),
            markers=markers.result(),
            subscription=heard,
            enclave=enclave.result(),
            keys=acting.result(),
            tenant=target.credential is not None,
            identity=identity.result(),
            socket_identity=behind,
        )

    async def _enclave(self, target: Target, others: Sequence[str]) -> EnclaveSeen | Unanswered | None:
        if target.enclave_url is None:
            return None
        # An enclave lists the groups of exactly one set of members, so that all sets with a key of its own are asked
        # for.
        sets = [members for members in self.member_sets if set(members).intersection(target.enclave_keys)]
        return await ask_enclave(
            self.session, target.enclave_url, sets, target.tls, own=target.enclave_keys, others=others
        )

    async def _socket(self, target: Target, period: float | Unanswered | None) -> tuple[Heard, str | Unanswered | None]:
        """Return what the WebSocket delivered, and which node is behind it."""
        if target.ws_url is None:
            return None, None
        block_seconds = period if isinstance(period, float) else 0.0
        within = min(max(self.expected.head_within_seconds, 3 * block_seconds), LONGEST_WAIT_SECONDS)
        async with NodeSocket(
            target.ws_url, random=self.random, credential=target.credential, tls=target.tls
        ) as socket:
            reader = socket.subscribe_heads()
            if not await socket.wait_connected(min(CONNECT_SECONDS, within)):
                failed = Unanswered("not_connected", socket.last_error or f"no connection to {target.ws_url}")
                return failed, failed
            # On the connection that delivers the heads: behind one address a balancer may have several nodes.
            behind = await asked(identity_behind(socket))
            began = self.now()
            try:
                async with asyncio.timeout(within):
                    async for item in reader:
                        if isinstance(item, Head):
                            at = self.now()
                            delivered = HeadDelivered(
                                block_number=item.number,
                                after_seconds=at - began,
                                clock_lead_seconds=at - item.timestamp,
                            )
                            return delivered, behind
            except TimeoutError:
                return Unanswered("timeout", f"nothing came in {within:g} s"), behind
            except BesuError as error:
                return Unanswered(error.reason, str(error)), behind
        return Unanswered("not_connected", socket.last_error or "the connection ended"), behind


async def standing(
    seen: Sequence[NodeSeen | NodeSilent], nodes: Mapping[str, Node]
) -> Mapping[str, NextBlock | Unanswered]:
    """Look once more at nodes that were behind: by name, the block that each that has not moved is to import next.

    Args:
        seen: What was seen of the nodes.
        nodes: The nodes by name.
    """
    heads = {node.name: node.head.number for node in seen if isinstance(node, NodeSeen)}
    later = await asyncio.gather(*(asked(nodes[name].head()) for name in heads))
    numbers = {name: head.number for name, head in zip(heads, later, strict=True) if isinstance(head, Head)}
    # The node that is furthest has the block that the others stand before, and is asked what is in it.
    ahead = max(numbers, key=lambda name: numbers[name], default=None)
    if ahead is None:
        return {}
    # One block may just be on its way to a node.
    still = [name for name, number in numbers.items() if number <= heads[name] and numbers[ahead] - number > 1]
    moved = numbers[ahead] > heads[ahead] or numbers[ahead] - min(numbers.values()) > STANDS_BLOCKS
    if not moved:
        return {}
    return {name: await asked(questions.next_block(nodes[ahead], numbers[name] + 1, numbers[ahead])) for name in still}


async def _acts_as(target: Target, others: Sequence[str]) -> KeysSeen | Unanswered:
    chain_id = await asked(target.node.chain_id())
    if isinstance(chain_id, Unanswered):
        return chain_id
    # An id that anybody could know in advance is one that somebody could give a group.
    group = secrets.token_bytes(32)
    seen = await asked(keys_of_node(target.node, chain_id, group, target.enclave_keys, others))
    if isinstance(seen, Unanswered) or seen.own or seen.others:
        return seen
    # It acts as none of the configured keys, so its own is looked for among the members of the groups that it holds.
    listed = await asked(target.node.find_groups(()))
    members = () if isinstance(listed, Unanswered) else (key for found in listed[:GROUPS] for key in found.members)
    strangers = [key for key in dict.fromkeys(members) if key not in {*target.enclave_keys, *others}]
    found = await asked(keys_of_node(target.node, chain_id, group, strangers, ()))
    return seen if isinstance(found, Unanswered) else replace(seen, others=found.own)


async def owned_groups(
    seen: Sequence[NodeSeen | NodeSilent], nodes: Mapping[str, Node], accounts: Sequence[str], known: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the groups that each account owns, of those that nodes list and those that are known otherwise.

    Asks at most `OWNER_QUESTIONS` times; what is beyond is left out.

    Args:
        seen: What was seen of the nodes.
        nodes: The nodes by name.
        accounts: Addresses.
        known: Ids of groups known otherwise, such as from the store.
    """
    where: dict[str, str] = {}
    for node in seen:
        if isinstance(node, NodeSeen) and not isinstance(node.groups, Unanswered):
            for group in node.groups:
                # Ownership is part of a group's state, the same on every member's node: one that lists it is enough.
                where.setdefault(group, node.name)
    answering = [node.name for node in seen if isinstance(node, NodeSeen)]
    wanted = [(account, group, [name]) for account in accounts for group, name in where.items()]
    wanted += [(account, group, answering) for account in accounts for group in known if group not in where]
    chosen = wanted[:OWNER_QUESTIONS]
    told = await asyncio.gather(*(_owns(nodes, account, group, names) for account, group, names in chosen))
    found: dict[str, list[str]] = {account: [] for account in accounts}
    for (account, group, _), owns in zip(chosen, told, strict=True):
        if owns:
            found[account].append(group)
    return {account: tuple(groups) for account, groups in found.items()}


async def _owns(nodes: Mapping[str, Node], account: str, group: str, names: Sequence[str]) -> bool:
    for name in names:
        owns = await asked(nodes[name].is_owner(group, account))
        if isinstance(owns, bool):
            return owns
    return False
