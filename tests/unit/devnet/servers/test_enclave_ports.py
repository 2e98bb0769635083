"""Enclaves with an HTTP interface, and nodes that speak to them there."""

import asyncio
import base64
from typing import Any

import aiohttp
import pytest

from orchestrator.besu.codec.bundles import decode_bundle
from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.errors import DevnetError, RpcError
from tests.fakes.guarded_network import OTHER_KEY, GuardedNetwork, guarded_network, until


async def post(url: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(url + path, json=body) as response:
        text = await response.text()
        return response.status, (await response.json() if response.content_type == "application/json" else text)


async def received(network: GuardedNetwork, node: int, key: bytes, to: str | None = None) -> tuple[int, Any]:
    body = {"key": base64.b64encode(key).decode(), "to": to}
    return await post(network.devnet.nodes[node - 1].enclave_url, "/receive", body)


async def test_an_addition_over_http_brings_the_group_to_the_new_member() -> None:
    """Creating, writing, locking and adding go through the enclaves' ports and end in equal roots."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        await network.write(group, 2, key=OTHER_KEY)
        await network.add(group, 3)
        await network.write(group, 3, key=OTHER_KEY)
        assert network.root(1, group) == network.root(2, group) == network.root(3, group) is not None
        assert network.root(4, group) is None
        assert set(await network.members(3, group)) == set(network.keys[:3])
        # The new member's node bundles what it was itself added with, read from its enclave.
        await network.add(group, 4, node=3)
        assert network.root(4, group) == network.root(1, group)


async def test_the_interface_answers_as_orion_does() -> None:
    """Payloads are base64 of the base64 text that Besu sent, histories have their own form, and strangers get 404."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        url = network.devnet.nodes[0].enclave_url
        async with aiohttp.ClientSession() as session, session.get(url + "/upcheck") as response:
            assert (response.status, await response.text()) == (200, "I'm up!")
        payload, _ = await network.add(group, 3)
        status, answer = await received(network, 3, payload[32:])
        assert status == 200
        assert set(answer) == {"payload", "senderKey", "privacyGroupId"}
        assert answer["senderKey"] == network.keys[0]
        bundle = decode_bundle(base64.b64decode(base64.b64decode(answer["payload"])), 10)
        assert [item.signed.transaction.private_nonce for item in bundle] == [0, 1]
        assert await received(network, 4, payload[32:]) == (404, {"error": "EnclavePayloadNotFound"})
        assert await received(network, 2, payload[32:]) == (404, {"error": "EnclavePayloadNotFound"})
        assert (await received(network, 2, payload[:32], network.keys[1]))[0] == 200
        body = {"payload": answer["payload"], "from": network.keys[0], "to": ["A" * 43 + "="]}
        assert await post(url, "/send", body) == (500, {"error": "NodeMissingPeerUrl"})
        body = {"payload": answer["payload"], "from": network.keys[1], "to": []}
        assert await post(url, "/send", body) == (500, {"error": "EnclaveNoMatchingPrivateKey"})
        assert await post(url, "/send", {"payload": "AAAA", "to": []}) == (400, {"error": "InvalidPayload"})
        assert await post(url, "/findPrivacyGroup", {"addresses": []}) == (200, [])
        assert (await post(url, "/retrievePrivacyGroup", {"privacyGroupId": group}))[0] == 404


async def test_a_node_waits_for_its_enclave_and_goes_on() -> None:
    """A block with a marker is not imported while the enclave is away, and is when it is back; sends fail meanwhile."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        payload = await network.distribute(b"\x01", group, to="0x" + "11" * 20)
        await network.call(1, "devnet_setEnclave", 2, False)
        network.network.append_block([network.marker(payload)])
        await until(lambda: network.network.nodes[0].head is network.network.chain.head)
        assert network.network.nodes[1].head is not network.network.chain.head
        with pytest.raises(RpcError, match="Error communicating with enclave"):
            async with asyncio.timeout(20):
                await network.distribute(b"\x02", group, 2, to="0x" + "11" * 20)
        await network.call(1, "devnet_setEnclave", 2, True)
        await network.imported()
        assert network.root(1, group) == network.root(2, group)


async def test_validators_check_proposals_over_http() -> None:
    """With a chain that makes its own blocks an addition is mined, the validators having asked their enclaves twice."""
    async with guarded_network(block_period_seconds=0.05) as network:
        group = network.group("G")

        async def mined(data: bytes) -> None:
            payload = await network.distribute(data, group)
            pmt_hash = await network.call(1, "eth_sendRawTransaction", "0x" + network.marker(payload).raw.hex())
            await until(lambda: network.network.chain.locate(bytes.fromhex(pmt_hash[2:])) is not None)
            await network.imported()

        await mined(network.addition(1, 3))
        await mined(bytes.fromhex("f83d08ba"))
        number = network.network.chain.head.number
        await until(lambda: network.network.chain.head.number > number)
        await mined(network.addition(2))
        await until(lambda: network.root(2, group) is not None and network.root(2, group) == network.root(1, group))


async def test_tessera_answers_in_its_own_words() -> None:
    """A payload that is not there is told as text, not as JSON."""
    async with guarded_network(enclave="tessera") as network:
        status, text = await received(network, 1, bytes(32))
        assert (status, text[:17]) == (404, "Message with hash")
        group = network.group("G")
        await network.create(group, 1, 2)
        await network.add(group, 3)
        assert network.root(3, group) == network.root(1, group)


def test_ports_need_real_time() -> None:
    """A devnet with virtual time has no enclaves' ports, and says so."""
    with pytest.raises(DevnetError, match="real time"):
        DevnetConfig(enclave_http=True, virtual_time=True)
    with pytest.raises(DevnetError, match="enclave is"):
        DevnetConfig(enclave="none")
