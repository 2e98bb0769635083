import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
import stamina
from aiohttp import ClientSession, web

from orchestrator.besu.adapter.port import BesuNode
from orchestrator.besu.client.group_snapshots import EMPTY_ROOT
from orchestrator.besu.client.node import Node
from orchestrator.besu.client.own_markers import OwnMarkers, one_time_account
from orchestrator.besu.codec.identifiers import bytes_to_hex
from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, Abi, Method, encode_call, encode_participants
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.engine.ports.nodes import Head, NodeError, NodePort, PmtOutcome, Said
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import rule_of
from tests.fakes.scripted_rpc import AnsweredError, ScriptedNode

HASH = "0x" + "11" * 32
ROOT = "0x" + "22" * 32
GROUP = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="
KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="
ACCOUNT = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
ENODE = "enode://" + "ab" * 64 + "@127.0.0.1:30303"
PRECOMPILE = "0x000000000000000000000000000000000000007d"
FIRST, HEAD = 3, 5
TRUE = "0x" + "1".zfill(64)
OUTPUTS = {
    bytes_to_hex(encode_call(Method.GET_PARTICIPANTS)): bytes_to_hex(encode_participants(Abi.BYTES, [KEY])),
    bytes_to_hex(encode_call(Method.CAN_EXECUTE)): TRUE,
    bytes_to_hex(encode_call(Method.GET_VERSION)): "0x" + "33" * 32,
    bytes_to_hex(encode_call(Method.CAN_UPGRADE)): TRUE,
}
CODE = bytes_to_hex(bytes.fromhex("965a25ef5aa68ac0"))
RECEIPT = {
    "transactionHash": HASH,
    "commitmentHash": HASH,
    "blockNumber": "0x5",
    "blockHash": HASH,
    "from": ACCOUNT,
    "status": "0x1",
    "output": TRUE,
    "logs": [],
}


REMOVAL = (
    "0x"
    "0000000000000000000000000000000000000000000000000000000000000020"
    "0000000000000000000000000000000000000000000000000000000000000020"
    "d624d975efe77411efce1725ed5ebcc78e15c7ba65f27c31f4baa733f01f2548"
)
LOG = {
    "address": MANAGEMENT_PROXY,
    "topics": ["0x52213552a930e6de0c0d7df74ece31dac1306b2c7e200ceded7a4442853189b5"],
    "data": REMOVAL,
    "blockNumber": hex(FIRST),
    "blockHash": HASH,
    "transactionHash": HASH,
    "logIndex": "0x0",
}


@dataclass
class Replica:
    """What a node answers whose chain has come so far; the group is there since block `FIRST`."""

    head: int = HEAD

    def block(self, number: str, full: bool) -> Any:
        at = self.head if number == "latest" else int(number, 16)
        if at > self.head:
            return None
        transaction = {"hash": HASH, "from": ACCOUNT, "nonce": "0x0", "to": PRECOMPILE, "input": "0x" + "44" * 64}
        transaction |= {"value": "0x0", "gas": "0x5608", "gasPrice": "0x0"}
        fields = {"number": hex(at), "hash": HASH, "parentHash": HASH, "timestamp": "0x1", "gasLimit": "0x1fffff"}
        fields["stateRoot"] = ROOT
        return fields | {"transactions": [transaction if full else HASH]}

    def root(self, _: str, number: str) -> Any:
        if self.head < FIRST or int(number, 16) > self.head:
            raise AnsweredError(-50100, "Error finding privacy group")
        return ROOT if int(number, 16) >= FIRST else EMPTY_ROOT

    def call(self, _: str, asked: dict[str, str], number: str) -> Any:
        at = self.head if number == "latest" else int(number, 16)
        return None if at > self.head else OUTPUTS[asked["data"]] if at >= FIRST else "0x"

    def logs(self, _: str, wanted: dict[str, Any]) -> list[Any]:
        return [LOG] if int(wanted["fromBlock"], 16) <= FIRST <= min(self.head, int(wanted["toBlock"], 16)) else []

    def answers(self) -> dict[str, Any]:
        return {
            "priv_getLogs": self.logs,
            "eth_getBalance": lambda _, number: "0x9" if int(number, 16) <= self.head else None,
            "eth_getTransactionByHash": {"hash": HASH, "blockNumber": "0x5", "blockHash": HASH},
            "web3_clientVersion": "besu/v23.10.3/linux-x86_64/openjdk-java-17",
            "eth_chainId": "0x539",
            "ibft_getValidatorsByBlockNumber": [ACCOUNT],
            "net_enode": ENODE,
            "eth_syncing": False,
            "net_peerCount": "0x2",
            "eth_getBlockByNumber": self.block,
            "priv_debugGetStateRoot": self.root,
            "priv_call": self.call,
            "priv_getCode": CODE if self.head >= FIRST else None,
            "priv_getTransactionCount": "0x7",
            "eth_getTransactionReceipt": copy.deepcopy(RECEIPT) if self.head >= HEAD else None,
            "priv_getTransactionReceipt": copy.deepcopy(RECEIPT) if self.head >= HEAD else None,
            "privx_findFlexiblePrivacyGroup": [{"privacyGroupId": GROUP, "members": [KEY]}],
            "eth_getTransactionCount": lambda _, block: None if block == "0x5" and self.head < HEAD else "0x2",
        }


READERS: dict[str, Callable[[BesuNode], Awaitable[Any]]] = {
    "traits": lambda node: node.traits(),
    "head": lambda node: node.head(),
    "syncing": lambda node: node.syncing(),
    "peers": lambda node: node.peers(),
    "block": lambda node: node.block(HEAD),
    "blocks": lambda node: node.blocks([HEAD - 1, HEAD]),
    "balances": lambda node: node.balances([ACCOUNT], HEAD),
    "memberships": lambda node: node.memberships([GROUP], 0, HEAD),
    "pooled": lambda node: node.pooled([HASH]),
    "view": lambda node: node.view(GROUP, HEAD),
    "lock_view": lambda node: node.lock_view(GROUP, HEAD),
    "roots": lambda node: node.roots(GROUP, [HEAD - 1, HEAD]),
    "public_roots": lambda node: node.public_roots([HEAD - 1, HEAD]),
    "root_if_any": lambda node: node.root_if_any(GROUP, HEAD),
    "roots_of": lambda node: node.roots_of([GROUP], HEAD),
    "abi": lambda node: node.abi(GROUP),
    "owns": lambda node: node.owns(GROUP, ACCOUNT),
    "private_nonce": lambda node: node.private_nonce(GROUP, ACCOUNT),
    "outcomes": lambda node: node.outcomes([HASH]),
    "additions": lambda node: node.additions(HEAD - 1, HEAD),
    "has_state": lambda node: node.has_state(GROUP, [HEAD - 1, HEAD]),
    "groups": lambda node: node.groups([KEY]),
    "account_nonce": lambda node: node.account_nonce(ACCOUNT, HEAD),
}
NO_READERS = {
    "name",
    "enclave_keys",
    "bundle_limit_bytes",
    "send",
    "distribute",
    "broadcast",
    "heads",
    "enclave_trouble",
    "enclave_knows",
    "private_sizes",  # an estimate: what a node lacks is left out of it
}
AT_A_BLOCK = (
    "block",
    "blocks",
    "balances",
    "memberships",
    "view",
    "lock_view",
    "roots",
    "public_roots",
    "root_if_any",
    "roots_of",
    "additions",
    "has_state",
    "account_nonce",
)

NO_ANSWERS = {
    "an internal error": AnsweredError(-32603, "Internal error"),
    "an unknown error": AnsweredError(-32000, "Entirely new"),
    "no world state": AnsweredError(-32000, "World state unavailable"),
    "no such group, it says": AnsweredError(-50100, "Error finding privacy group"),
    "no nonce, it says": AnsweredError(-50100, "Unable to determine nonce for account in group."),
    "an enclave that is down": AnsweredError(-50100, "Error communicating with enclave"),
    "a failed call": AnsweredError(-50100, "Private transaction failed"),
    "a revert": AnsweredError(-32000, "Execution reverted: Origin not the owner."),
    "invalid parameters": AnsweredError(-32602, "Invalid params"),
    "a limit": AnsweredError(-32005, "Requested range exceeds maximum RPC range limit"),
}
IN_A_CALL = ("null", "no result", "empty entry", "a field less", *NO_ANSWERS)
IN_A_REQUEST = ("late", "cut", "500", "503 in JSON", "429", "nothing", "half an answer")


@dataclass
class Silences:
    """Answers as a replica, except that some calls, by their place in the order of asking, meet a silence.

    Attributes:
        kind: Which silence.
        silent: Whether the call of that place meets it.
        without: For "a field less": which of the fields is left out.
        asked: How many calls there were.
        fields: How many fields the largest answer had.
        over: Lets the late requests go.
    """

    replica: Replica
    kind: str
    silent: Callable[[int], bool]
    without: int = 0
    asked: int = 0
    fields: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        scripted = ScriptedNode(answers=self.replica.answers())
        calls = body if isinstance(body, list) else [body]
        places = range(self.asked, self.asked + len(calls))
        self.asked += len(calls)
        met = any(map(self.silent, places))
        if met and self.kind in IN_A_REQUEST:
            return await self._no_answer(request)
        answered = [
            self._spoil(scripted.answer(call)) if self.silent(place) else scripted.answer(call)
            for place, call in zip(places, calls, strict=True)
        ]
        return web.json_response(answered if isinstance(body, list) else answered[0])

    def _spoil(self, answer: dict[str, Any]) -> dict[str, Any]:
        result = answer.get("result")
        match self.kind:
            case "null":
                return {"jsonrpc": "2.0", "id": answer["id"], "result": None}
            case "no result":
                return {"jsonrpc": "2.0", "id": answer["id"]}
            case "empty entry":
                return {}
            case "a field less":
                if isinstance(result, dict):
                    self.fields = max(self.fields, len(result))
                    left_out = sorted(result)[self.without % len(result)]
                    return answer | {"result": {name: value for name, value in result.items() if name != left_out}}
                return answer
            case _:
                return {"jsonrpc": "2.0", "id": answer["id"], "error": NO_ANSWERS[self.kind].error}

    async def _no_answer(self, request: web.Request) -> web.StreamResponse:
        match self.kind:
            case "late":
                await self.over.wait()
            case "cut":
                assert request.transport is not None
                request.transport.abort()
            case "500":
                return web.Response(status=500, text="Internal Server Error")
            case "503 in JSON":
                return web.json_response({"id": 1, "result": None}, status=503)
            case "429":
                return web.Response(status=429, text="Too Many Requests")
            case "half an answer":
                return web.Response(text='[{"jsonrpc": "2.0", "id": 1, "res')
        return web.Response(text="")


@pytest.fixture(autouse=True)
def _asked_once() -> Iterator[None]:
    """A silence is not asked away before it is seen."""
    stamina.set_testing(True, attempts=1)
    yield
    stamina.set_testing(False)


@pytest.fixture
async def meeting(scripted: ScriptedNode, session: ClientSession) -> AsyncIterator[Callable[[Silences], BesuNode]]:
    """Makes a node that meets silences."""
    met: list[Silences] = []

    def make(silences: Silences) -> BesuNode:
        met.append(silences)
        scripted.respond = silences.respond
        http = HttpNode(session, scripted.url, timeout_seconds=0.05 if silences.kind == "late" else 5)
        return BesuNode("member1", [KEY], Node(http, name="member1"), None, look_again=timedelta(0))

    yield make
    for silences in met:
        silences.over.set()


async def asked(question: Awaitable[Any]) -> tuple[NodeError | None, Any]:
    try:
        return None, await question
    except NodeError as error:
        return error, None


def is_unknown(value: Any, healthy: Any) -> bool:
    """Whether what a reader returned says by its type that it does not know."""
    if isinstance(value, tuple) and value and isinstance(value[0], PmtOutcome):
        return all(outcome.executed is None and outcome.reason is None for outcome in value)
    if isinstance(value, Head):
        return bool(value == replace(healthy, transactions=None))
    return value is None and healthy is False  # of `pooled`: True and False are what is known


def test_every_reader_is_walked() -> None:
    """No reader of the port is left out."""
    methods = {name for name in vars(NodePort) if not name.startswith("_")}
    assert methods - NO_READERS == set(READERS)


@pytest.mark.parametrize("kind", [*IN_A_CALL, *IN_A_REQUEST])
@pytest.mark.parametrize("name", READERS)
async def test_no_silence_becomes_a_value_or_a_refusal(
    meeting: Callable[[Silences], BesuNode], name: str, kind: str
) -> None:
    """Whatever call of a reader meets a silence, it tells the truth, or says in its type that it is not known here."""
    healthy = Silences(Replica(), "none", lambda _: False)
    truth = await READERS[name](meeting(healthy))
    spoilt = 0
    fields = len(RECEIPT) if kind == "a field less" else 1
    for first in range(healthy.asked):
        for silent in (first.__eq__, first.__le__):
            for without in range(fields):
                silences = Silences(Replica(), kind, silent, without)
                error, value = await asked(READERS[name](meeting(silences)))
                silences.over.set()
                if error is None:
                    assert value == truth or is_unknown(value, truth)
                else:
                    spoilt += 1
                    assert error.said is Said.NOT_KNOWN
                    assert rule_of(error.reason).judgement is not Judgement.TERMINAL
    assert spoilt or kind == "a field less" or name in {"outcomes", "pooled"}


@pytest.mark.parametrize("name", AT_A_BLOCK)
@pytest.mark.parametrize("head", [HEAD - 1, FIRST - 1])
async def test_a_replica_that_has_not_come_so_far_knows_nothing_of_a_block(
    meeting: Callable[[Silences], BesuNode], name: str, head: int
) -> None:
    """A block beyond the head is never read as no group, no state or no block, also before the group's first block."""
    with pytest.raises(NodeError) as failure:
        await READERS[name](meeting(Silences(Replica(head), "none", lambda _: False)))
    assert failure.value.said is Said.NOT_KNOWN


async def test_no_group_at_a_block_that_is_there_is_a_value(meeting: Callable[[Silences], BesuNode]) -> None:
    """``0x`` at a block that the node has says that there is no group, and so does the root."""
    node = meeting(Silences(Replica(), "none", lambda _: False))
    assert not (await node.view(GROUP, FIRST - 1)).exists
    assert not (await node.lock_view(GROUP, FIRST - 1)).exists
    assert [view.exists for view in await node.roots(GROUP, [FIRST - 1, FIRST])] == [False, True]
    assert [(await node.root_if_any(GROUP, number)).exists for number in (FIRST - 1, FIRST)] == [False, True]
    assert await node.has_state(GROUP, [FIRST - 1, FIRST]) == (False, True)
    stranger = meeting(Silences(Replica(FIRST - 1), "none", lambda _: False))
    assert [view.exists for view in await stranger.roots(GROUP, [FIRST - 1])] == [False]
    assert await stranger.abi(GROUP) is None
    assert await stranger.owns(GROUP, ACCOUNT) is None


async def test_a_group_that_is_not_there_costs_one_call(
    scripted: ScriptedNode, meeting: Callable[[Silences], BesuNode]
) -> None:
    """And a tenant that is refused this call has the group or not by its root, or is told nothing at all."""
    node = meeting(Silences(Replica(), "none", lambda _: False))
    asked = node.counts.calls
    assert not (await node.root_if_any(GROUP, FIRST - 1)).exists
    assert node.counts.calls - asked == 1
    scripted.respond = None
    refused = AnsweredError(-40100, "Unauthorized")
    scripted.answers = {"priv_call": refused, "priv_debugGetStateRoot": ROOT}
    assert (await node.root_if_any(GROUP, HEAD)).state_root == ROOT
    scripted.answers["priv_debugGetStateRoot"] = AnsweredError(-50100, "Error finding privacy group")
    assert not (await node.root_if_any(GROUP, HEAD)).exists
    scripted.answers["priv_debugGetStateRoot"] = refused
    with pytest.raises(NodeError) as failure:
        await node.root_if_any(GROUP, HEAD)
    assert failure.value.said is Said.REFUSED


async def test_a_lock_is_told_by_its_root_and_one_call(meeting: Callable[[Silences], BesuNode]) -> None:
    """As the whole view tells it; members and version are left out."""
    node = meeting(Silences(Replica(), "none", lambda _: False))
    whole, asked = await node.view(GROUP, HEAD), node.counts.calls
    seen = await node.lock_view(GROUP, HEAD)
    assert (seen.exists, seen.locked, seen.state_root) == (True, whole.locked, whole.state_root)
    assert node.counts.calls - asked == 2


async def test_mined_without_a_private_receipt_is_unknown(
    scripted: ScriptedNode, meeting: Callable[[Silences], BesuNode]
) -> None:
    """A PMT in a block, of which the private receipt is not there yet, is neither executed nor refused."""
    node = meeting(Silences(Replica(), "none", lambda _: False))
    scripted.respond = None
    scripted.answers = Replica().answers() | {"priv_getTransactionReceipt": None}
    assert await node.outcomes([HASH]) == (PmtOutcome(pmt_hash=HASH, block_number=HEAD, block_hash=HASH),)


@pytest.mark.parametrize(
    "refusal",
    [
        AnsweredError(-40100, "Unauthorized"),
        AnsweredError(-32601, "Method not found"),
        AnsweredError(-32604, "Method not enabled"),
    ],
)
async def test_a_node_that_will_not_tell_says_so(
    scripted: ScriptedNode, meeting: Callable[[Silences], BesuNode], refusal: AnsweredError
) -> None:
    """Where a person has to act before the node tells, it is a certain refusal, and parks."""
    node = meeting(Silences(Replica(), "none", lambda _: False))
    scripted.respond = None
    scripted.answers = {"priv_call": refusal}
    with pytest.raises(NodeError) as failure:
        await node.view(GROUP, HEAD)
    assert failure.value.said is Said.REFUSED
    assert rule_of(failure.value.reason).judgement is Judgement.PARK


MARKER = OwnMarkers(gas_limit=22_024, gas_price=0).make(b"\x22" * 32, 1337, one_time_account(b"\x11" * 32))
SENDERS: dict[str, tuple[str, Callable[[BesuNode], Awaitable[Any]]]] = {
    "send": ("eea_sendRawTransaction", lambda node: node.send(b"\1")),
    "distribute": ("priv_distributeRawTransaction", lambda node: node.distribute(b"\1")),
    "broadcast": ("eth_sendRawTransaction", lambda node: node.broadcast(MARKER.raw, MARKER.pmt_hash)),
}


@pytest.mark.parametrize(
    ("sender", "kind"),
    [(sender, kind) for sender in SENDERS for kind in ("null", "no result", "cut", "500", "503 in JSON", "nothing")]
    + [("broadcast", "late")],
)
async def test_a_send_without_a_clear_answer_may_have_been_done(
    meeting: Callable[[Silences], BesuNode], sender: str, kind: str
) -> None:
    """No silence of a request that changes something is a refusal."""
    with pytest.raises(NodeError) as failure:
        await SENDERS[sender][1](meeting(Silences(Replica(), kind, lambda _: True)))
    assert failure.value.said is Said.PERHAPS_DONE


@pytest.mark.parametrize(
    ("sender", "refusal", "slug", "said"),
    [
        ("broadcast", (-32001, "Nonce too low"), "marker_nonce_used", Said.REFUSED),
        ("broadcast", (-32000, "Replacement transaction underpriced"), "marker_outbid", Said.REFUSED),
        ("broadcast", (-32004, "Upfront cost exceeds account balance"), "marker_account_refused", Said.REFUSED),
        (
            "broadcast",
            (-32007, "Sender account not authorized …"),
            "marker_account_refused",
            Said.REFUSED,
        ),
        ("broadcast", (-32009, "Gas price below configured minimum gas price"), "marker_account_refused", Said.REFUSED),
        ("broadcast", (-32005, "Transaction gas limit exceeds block gas limit"), "marker_gas_refused", Said.REFUSED),
        ("broadcast", (-32003, "Intrinsic gas exceeds gas limit"), "marker_gas_refused", Said.REFUSED),
        ("broadcast", (-32002, "Transaction pool not enabled"), "node_behind", Said.REFUSED),
        ("broadcast", (-32603, "Internal error"), "node_error", Said.PERHAPS_DONE),
        ("send", (-32001, "Nonce too low"), "private_nonce_used", Said.REFUSED),
        ("send", (-32004, "Upfront cost exceeds account balance"), "marker_account_refused", Said.REFUSED),
        ("send", (-32007, "Sender account not authorized …"), "marker_account_refused", Said.REFUSED),
        ("send", (-32603, "Internal error"), "node_error", Said.PERHAPS_DONE),
        ("distribute", (-32601, "Method not found"), "distribution_unavailable", Said.REFUSED),
        ("distribute", (-32604, "Method not enabled"), "distribution_unavailable", Said.REFUSED),
        ("distribute", (-32001, "Nonce too low"), "private_nonce_used", Said.REFUSED),
        (
            "broadcast",
            (-32000, "Transaction nonce it too distant from current sender nonce"),
            "node_error",
            Said.REFUSED,
        ),
        ("distribute", (-32603, "Internal error"), "node_error", Said.PERHAPS_DONE),
        ("distribute", (-32000, "Entirely new"), "node_error", Said.PERHAPS_DONE),
        ("distribute", (-50200, "NodeMissingPeerUrl"), "enclave_key_unknown", Said.REFUSED),
    ],
)
async def test_refusals_of_sends_are_told_apart(
    scripted: ScriptedNode, session: ClientSession, sender: str, refusal: tuple[int, str], slug: str, said: Said
) -> None:
    """What a refusal means depends on what was sent: a private nonce is no account's nonce."""
    method, send = SENDERS[sender]
    scripted.answers = {method: AnsweredError(*refusal)}
    with pytest.raises(NodeError) as failure:
        await send(BesuNode("member1", [KEY], Node(HttpNode(session, scripted.url)), None))
    assert (failure.value.reason.slug, failure.value.said) == (slug, said)
    assert failure.value.certain is (said is Said.REFUSED)


@pytest.mark.parametrize("answer", [MARKER.pmt_hash, AnsweredError(-32000, "Known transaction")])
async def test_a_marker_is_taken_once_and_again(scripted: ScriptedNode, session: ClientSession, answer: Any) -> None:
    """The hash, and that the pool has it already, both say that the marker is in the pool."""
    scripted.answers = {"eth_sendRawTransaction": answer}
    await BesuNode("member1", [KEY], Node(HttpNode(session, scripted.url)), None).broadcast(MARKER.raw, MARKER.pmt_hash)


async def test_a_marker_that_is_answered_with_another_hash_may_have_been_taken(
    scripted: ScriptedNode, session: ClientSession
) -> None:
    """A foreign hash is no confirmation."""
    scripted.answers = {"eth_sendRawTransaction": HASH}
    with pytest.raises(NodeError) as failure:
        await BesuNode("member1", [KEY], Node(HttpNode(session, scripted.url)), None).broadcast(
            MARKER.raw, MARKER.pmt_hash
        )
    assert failure.value.said is Said.PERHAPS_DONE


@pytest.mark.parametrize("length", [32, 64])
async def test_a_payload_key_is_returned(scripted: ScriptedNode, session: ClientSession, length: int) -> None:
    """The key of a distributed transaction, or with that of the group's history, is what the marker carries."""
    scripted.answers = {"priv_distributeRawTransaction": "0x" + "ab" * length}
    node = BesuNode("member1", [KEY], Node(HttpNode(session, scripted.url)), None)
    assert await node.distribute(b"\1") == b"\xab" * length


@pytest.mark.parametrize("length", [0, 31, 33, 96])
async def test_what_is_no_payload_key_is_not_taken(scripted: ScriptedNode, session: ClientSession, length: int) -> None:
    """A key of another length is an answer that is not understood: it may have been distributed."""
    scripted.answers = {"priv_distributeRawTransaction": "0x" + "ab" * length}
    with pytest.raises(NodeError) as failure:
        await BesuNode("member1", [KEY], Node(HttpNode(session, scripted.url)), None).distribute(b"\1")
    assert failure.value.said is Said.PERHAPS_DONE


@pytest.mark.parametrize("told", ["0x" + "ab" * 64, AnsweredError(-50100, "Flexible Privacy group does not exist")])
async def test_a_late_node_behind_the_address_distributes_no_history(
    scripted: ScriptedNode, session: ClientSession, told: object
) -> None:
    """What answers without the block that is asked for decides nothing: neither its key is used nor its refusal."""
    scripted.answers = {"eth_blockNumber": hex(HEAD - 1), "priv_distributeRawTransaction": told}
    with pytest.raises(NodeError) as failure:
        await BesuNode("member1", [KEY], Node(HttpNode(session, scripted.url)), None).distribute(b"\1", HEAD)
    assert (failure.value.reason.slug, failure.value.certain) == ("not_known_here", False)


async def test_what_distributes_a_history_shows_its_head_in_the_same_request(
    scripted: ScriptedNode, session: ClientSession
) -> None:
    """One node answers both, whatever is behind the address; what it refuses with that block is a refusal."""
    scripted.answers = {"eth_blockNumber": hex(HEAD), "priv_distributeRawTransaction": "0x" + "ab" * 64}
    node = BesuNode("member1", [KEY], Node(HttpNode(session, scripted.url)), None)
    assert await node.distribute(b"\1", HEAD) == b"\xab" * 64
    assert [len(body) for body in scripted.bodies] == [2]
    scripted.answers |= {"priv_distributeRawTransaction": AnsweredError(-50200, "NodeMissingPeerUrl")}
    for head in (hex(HEAD), AnsweredError(-32603, "Internal error")):
        scripted.answers |= {"eth_blockNumber": head}
        with pytest.raises(NodeError) as failure:
            await node.distribute(b"\1", HEAD)
        assert (failure.value.reason.slug, failure.value.certain) == ("enclave_key_unknown", True)


async def test_a_node_that_takes_no_batches_distributes_alone(scripted: ScriptedNode, session: ClientSession) -> None:
    """A gateway that refuses batches leads to one node: the transaction goes by itself, once."""

    async def single(request: web.Request) -> web.Response:
        body = await request.json()
        scripted.bodies.append(body)
        return web.Response(status=413) if isinstance(body, list) else web.json_response(scripted.answer(body))

    scripted.answers, scripted.respond = {"priv_distributeRawTransaction": "0x" + "ab" * 64}, single
    node = BesuNode("member1", [KEY], Node(HttpNode(session, scripted.url)), None)
    assert await node.distribute(b"\1", HEAD) == b"\xab" * 64
    assert [isinstance(body, list) for body in scripted.bodies] == [True, False]


async def test_a_version_that_nobody_says_parks(scripted: ScriptedNode, session: ClientSession) -> None:
    """A build that says "vnull" is not taken for any version, unless one is configured."""
    scripted.answers = Replica().answers() | {"web3_clientVersion": "besu/10.0.0.5/vnull/linux-x86_64/openjdk-java-17"}
    http = HttpNode(session, scripted.url)
    with pytest.raises(NodeError) as failure:
        await BesuNode("member1", [KEY], Node(http), None, look_again=timedelta(0)).traits()
    assert (failure.value.reason.slug, failure.value.said) == ("version_unknown", Said.REFUSED)
    traits = await BesuNode("member1", [KEY], Node(http, version=(22, 4, 4)), None).traits()
    assert (traits.besu_version, traits.native_abi) == ((22, 4, 4), "bytes32")


async def test_an_identity_is_no_version(scripted: ScriptedNode, session: ClientSession) -> None:
    """An address that the operator calls the node by is passed over."""
    scripted.answers = Replica().answers() | {
        "web3_clientVersion": "besu/10.0.0.5/v23.10.3/linux-x86_64/openjdk-java-17"
    }
    traits = await BesuNode("member1", [KEY], Node(HttpNode(session, scripted.url)), None).traits()
    assert traits.besu_version == (23, 10, 3)


async def test_a_barred_node_is_asked_for_its_chain_alone(session: ClientSession, scripted: ScriptedNode) -> None:
    """What is on another chain takes no transaction and tells nothing of groups; it can still be seen to be back."""
    http = HttpNode(session, scripted.url)
    node = BesuNode("member1", [KEY], Node(http), None, look_again=timedelta(0))
    node.barred = "node member1 is on another chain than before"
    for asked in (node.distribute(b"\1"), node.view(GROUP, HEAD), node.broadcast(MARKER.raw, MARKER.pmt_hash)):
        with pytest.raises(NodeError) as refused:
            await asked
        assert (refused.value.reason.slug, refused.value.certain) == ("node_on_other_chain", True)
    assert not scripted.methods
    scripted.answers = {"eth_getBlockByNumber": None}
    with pytest.raises(NodeError) as unknown:
        await node.block(3)
    assert unknown.value.reason.slug != "node_on_other_chain"
