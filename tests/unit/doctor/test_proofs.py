"""Who an enclave is, by what Orion, Tessera and others say at its address."""

from collections.abc import AsyncIterator
from random import SystemRandom

import aiohttp
import pytest
from aiohttp import web

from orchestrator.besu.codec.json_rpc import Call
from orchestrator.besu.codec.private_transaction import decode_private_transaction
from orchestrator.besu.errors import ConnectionLostError
from orchestrator.besu.transport.websocket_client import NodeSocket
from orchestrator.devnet.enclaves.wire import payload_of
from orchestrator.doctor.findings import KeysSeen
from orchestrator.doctor.proofs import NOBODY, NotForClientsError, is_node, keys_of_enclave, unsigned
from tests.servers.local_application import served as served_at

OWN = "A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo="
OTHER = "Ko2bVqD+nNlNYL5EE7y3IdOnviftjiizpjRt+HTuFBs="
ORION = ((500, '{"error":"EnclaveNoMatchingPrivateKey"}'), (500, '{"error":"NodeMissingPeerUrl"}'))
TESSERA = (
    (404, f"Public key {OWN} not found when searching for private key"),
    (404, f"Recipient not found for key: {NOBODY}"),
)


class Enclave:
    """An address that answers ``/send``: first word for a key that it does not host, second for one that it does."""

    def __init__(self) -> None:
        self.hosted = OWN
        self.words: tuple[tuple[int, str], ...] = ORION
        self.asked: list[dict[str, object]] = []

    async def send(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.asked.append(asked)
        status, text = self.words[asked["from"] == self.hosted]
        return web.Response(status=status, text=text)

    async def rpc(self, _: web.Request) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": "besu/v23.10.3"})


@pytest.fixture
async def served() -> AsyncIterator[tuple[Enclave, str, aiohttp.ClientSession]]:
    enclave = Enclave()
    app = web.Application()
    app.router.add_post("/send", enclave.send)
    app.router.add_post("/rpc", enclave.rpc)
    async with served_at(app) as url, aiohttp.ClientSession() as session:
        yield enclave, url, session


@pytest.mark.parametrize("words", [ORION, TESSERA], ids=["orion", "tessera"])
async def test_an_enclave_says_which_keys_it_hosts(
    served: tuple[Enclave, str, aiohttp.ClientSession], words: tuple[tuple[int, str], ...]
) -> None:
    """Both kinds look for the sender's private key first; others' keys are tried only when an own one is refused."""
    enclave, url, session = served
    enclave.words = words
    assert await keys_of_enclave(session, url, None, [OWN], [OTHER]) == KeysSeen(own=(OWN,))
    assert len(enclave.asked) == 1
    enclave.hosted = OTHER
    assert await keys_of_enclave(session, url, None, [OWN], [OTHER]) == KeysSeen(foreign=(OWN,), others=(OTHER,))


async def test_nothing_of_value_is_asked_to_be_sent(served: tuple[Enclave, str, aiohttp.ClientSession]) -> None:
    """What is asked to be sent is a transaction that nobody signed, to a key that nobody hosts, always the same one."""
    enclave, url, session = served
    for _ in range(2):
        await keys_of_enclave(session, url, None, [OWN], [])
    assert [asked["to"] for asked in enclave.asked] == [[NOBODY], [NOBODY]]
    assert enclave.asked[0] == enclave.asked[1]
    payload_of(enclave.asked[0]["payload"])  # as Besu writes one


async def test_a_port_that_takes_no_transactions_is_none_for_clients(
    served: tuple[Enclave, str, aiohttp.ClientSession],
) -> None:
    """Tessera's other ports answer /upcheck, and 404 to a send."""
    _, url, session = served
    with pytest.raises(NotForClientsError, match="404"):
        await keys_of_enclave(session, f"{url}/p2p", None, [OWN], [])


async def test_a_nodes_port_is_known_by_its_json_rpc(served: tuple[Enclave, str, aiohttp.ClientSession]) -> None:
    """An address that answers JSON-RPC is a node's; another one is not."""
    _, url, session = served
    assert await is_node(session, f"{url}/rpc", None)
    assert not await is_node(session, f"{url}/other", None)


def test_bytes_that_nobody_signed_are_read_as_a_private_transaction() -> None:
    """They have private-from and group as given, and are from an account that nobody has the key of."""
    signed = decode_private_transaction(unsigned(OWN, 1337, bytes(range(32))))
    assert signed.transaction.private_from == OWN
    assert signed.transaction.chain_id == 1337
    assert (signed.r, signed.s) == (1, 1)


async def test_a_question_over_a_connection_that_there_is_not_fails_at_once() -> None:
    """Asking before there is a connection is told as one that was lost, and waits for nothing."""
    socket = NodeSocket("ws://127.0.0.1:9", random=SystemRandom())
    with pytest.raises(ConnectionLostError, match="not connected"):
        await socket.ask(Call("net_enode"))
