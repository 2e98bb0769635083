"""Importing blocks: replay, enclaves and nodes that are down, what diverges, forks."""

import json

import pytest

from orchestrator.besu.codec.management_contract import Method, encode_add_participants
from orchestrator.devnet.encoding import from_base64, to_base64
from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.network.submission import Submission
from orchestrator.devnet.rpc.dispatch import Caller
from tests.unit.devnet.driving import APPLICATION, GROUP, OTHER_GROUP, Driver, Listener

GROUP_BYTES = from_base64(GROUP) or b""


def prepared(**options: object) -> Driver:
    """A group of nodes 1 and 2 with a history of six transactions, locked."""
    driver = Driver(**options)
    driver.create(1, 2)
    driver.write(4)
    driver.lock()
    return driver


def test_replay_takes_its_time_inside_the_import_of_the_add_s_block() -> None:
    """The new node's head stays at the block before, and its old blocks become readable one after the other."""
    driver = prepared(replay_ms_per_transaction=100, bundle_ms_per_transaction=0)
    lock_block = driver.head(1)
    first_block = 1
    driver.send(encode_add_participants(driver.abi, [driver.keys[2]]))
    driver.mine()

    def replayed() -> int:
        versions = [driver.view(3, Method.GET_VERSION, hex(block)) for block in range(first_block, lock_block + 1)]
        assert all(len(version or b"") in {0, 32} for version in versions)
        return sum(1 for version in versions if version)

    seen = []
    for _ in range(6):
        driver.move(0.1)
        seen.append((driver.head(3), replayed()))

    assert driver.head(1) == lock_block + 1
    assert seen == [(lock_block, count) for count in range(1, 6)] + [(lock_block + 1, 6)]
    assert driver.root(3) == driver.root(1)


def test_a_node_that_replays_answers_and_falls_behind() -> None:
    """Blocks go on being made by the others; afterwards it catches up."""
    driver = prepared(replay_ms_per_transaction=1000, bundle_ms_per_transaction=0)
    driver.add(3)
    driver.write(1)

    assert driver.head(3) == driver.head(1) - 2
    assert driver.members(3) == ()
    driver.move(6)
    assert driver.head(3) == driver.head(1)
    assert driver.root(3) == driver.root(1)


def test_bundling_the_history_makes_the_submission_slow() -> None:
    """The answer comes after the bundle's time, and the marker is in the pool only then."""
    driver = prepared(bundle_ms_per_transaction=100)
    before = driver.now
    driver.send(encode_add_participants(driver.abi, [driver.keys[2]]))

    assert driver.now - before == pytest.approx(0.6)


def test_a_node_whose_enclave_is_down_imports_no_block_with_a_marker_and_catches_up() -> None:
    """It stays where it is, even if the block is none of its business, until the enclave is back."""
    driver = prepared(nodes=4, validators=3)
    pmt_hash = driver.send(encode_add_participants(driver.abi, [driver.keys[3]]))
    driver.call(1, "devnet_setEnclave", 4, False)
    driver.mine()
    driver.mine()

    assert driver.head(4) == driver.head(1) - 2
    assert driver.call(4, "eth_getTransactionReceipt", pmt_hash) is None
    driver.call(1, "devnet_setEnclave", 4, True)
    assert driver.head(4) == driver.head(1)
    assert driver.root(4) == driver.root(1)


def test_a_submission_that_cannot_reach_an_enclave_fails_after_the_time_out() -> None:
    """The group stays locked."""
    driver = prepared()
    driver.call(1, "devnet_setEnclave", 3, False)
    before = driver.now
    with pytest.raises(RpcError, match="-50100 Error communicating with enclave"):
        driver.send(encode_add_participants(driver.abi, [driver.keys[2]]))

    assert driver.now - before == pytest.approx(5.0)
    assert driver.locked()


def test_without_its_own_enclave_a_node_cannot_look_into_transactions() -> None:
    """Submitting fails, at once where connections are refused; receipts end in an internal error, public calls work."""
    driver = prepared()
    driver.call(1, "devnet_setEnclave", 1, "killed")
    with pytest.raises(RpcError, match="-50100 Error communicating with enclave"):
        driver.send(b"x", to=APPLICATION)
    with pytest.raises(RpcError, match="-32603 Internal error"):
        driver.call(1, "priv_getTransactionReceipt", "0x" + driver.network.chain.head.transactions[0].hash.hex())

    assert driver.now == 0
    assert driver.call(1, "eth_blockNumber") == hex(driver.network.chain.head.number)


def test_a_node_that_was_down_replays_when_it_is_back() -> None:
    """What happened meanwhile is imported then."""
    driver = prepared()
    pmt_hash = driver.send(encode_add_participants(driver.abi, [driver.keys[2]]))
    driver.call(1, "devnet_setNode", 3, False)
    driver.mine(3)
    behind = driver.network.nodes[2].head.number
    driver.call(1, "devnet_setNode", 3, True)

    assert behind == driver.head(1) - 3
    assert driver.root(3) == driver.root(1)
    assert driver.call(3, "priv_getTransactionReceipt", pmt_hash)["status"] == "0x1"


def test_blocks_stop_when_too_few_validators_follow() -> None:
    """Two thirds are needed, as IBFT 2 does; ``devnet_mine`` makes blocks all the same."""
    driver = Driver(block_period_seconds=1.0)
    driver.move(3)
    made = driver.head(1)
    for node in (2, 3):
        driver.call(1, "devnet_setNode", node, False)
    driver.move(5)

    assert made == 3
    assert driver.head(1) == made
    assert driver.mine() == made + 1
    for node in (2, 3):
        driver.call(1, "devnet_setNode", node, True)
    driver.move(1)
    assert driver.head(1) == made + 2


def test_a_member_that_missed_a_transaction_has_other_roots_from_there_on() -> None:
    """It has no receipt of that one, those of later ones look well."""
    driver = Driver(nodes=4)
    driver.create(1, 2, 3)
    driver.call(1, "devnet_missNextTransaction", 2, GROUP)
    missed = driver.write(1)["commitmentHash"]
    assert driver.call(2, "priv_getTransactionReceipt", missed) is None
    apart = [driver.root(2) != driver.root(1), driver.root(3) == driver.root(1)]
    driver.lock()

    assert apart == [True, True]
    assert driver.root(2) != driver.root(1)
    assert driver.members(2) == driver.members(1)


def test_diverging_on_purpose_changes_the_root_at_once_and_nothing_else() -> None:
    """Members, lock, version and nonces stay; later transactions execute and the roots stay apart."""
    driver = Driver()
    driver.create(1, 2)
    driver.write(1)
    driver.call(1, "devnet_diverge", 2, GROUP)

    assert driver.root(2) != driver.root(1)
    assert driver.view(2, Method.GET_VERSION) == driver.view(1, Method.GET_VERSION)
    assert driver.write(1)["status"] == "0x1"
    assert driver.call(2, "priv_getTransactionReceipt", _last_pmt(driver))["status"] == "0x1"
    assert driver.root(2) != driver.root(1)


def test_adding_again_a_former_member_that_had_diverged_stops_its_node_for_good() -> None:
    """The replay's root check throws inside the block import; no later block is imported, not even after a restart."""
    driver = prepared()
    driver.add(3)
    driver.call(1, "devnet_diverge", 3, GROUP)
    driver.remove(3)
    driver.write(1)
    driver.lock()
    stuck_at = driver.head(1)
    driver.add(3)
    for up in (False, True):
        driver.call(1, "devnet_setNode", 3, up)
    driver.mine(3)
    status = driver.call(1, "devnet_status")[2]

    assert driver.head(3) == stuck_at
    assert "history" in status["halted"]


def test_a_former_member_in_step_replays_only_what_it_missed() -> None:
    """From its own last transaction on."""
    driver = prepared(replay_ms_per_transaction=0)
    driver.add(3)
    driver.remove(3)
    driver.write(3)
    driver.lock()
    driver.call(1, "devnet_setNode", 3, False)
    driver.send(encode_add_participants(driver.abi, [driver.keys[2]]))
    driver.mine()
    driver.network.nodes[2].replay_seconds_each = 10.0
    driver.call(1, "devnet_setNode", 3, True)

    assert driver.call(1, "devnet_status")[2]["toReplay"] == 4
    driver.move(40)
    assert driver.root(3) == driver.root(1)


def test_a_fork_takes_logs_back_and_tells_them_again() -> None:
    """``removed`` logs, then the logs and heads of the new blocks, and every node in step with other hashes."""
    driver = prepared()
    listener = Listener()
    for method, params in (("eth_subscribe", ["newHeads"]), ("priv_subscribe", [GROUP, "logs", {}])):
        driver.call(2, method, *params, connection=listener)
    receipt = driver.add(3)
    head = driver.head(1)
    old_hash = receipt["blockHash"]
    listener.frames.clear()
    made = driver.call(1, "devnet_reorg", 2)
    frames = [json.loads(frame)["params"] for frame in listener.frames]
    logs = [frame["result"] for frame in frames if frame["subscription"] == "0x2"]
    heads = [frame["result"]["number"] for frame in frames if frame["subscription"] == "0x1"]

    assert driver.head(1) == head + 1
    assert [log["removed"] for log in logs[:1]] == [True]
    assert logs[0]["blockHash"] == old_hash
    assert heads == [hex(number) for number in range(head - 1, head + 2)]
    assert len(made) == 3
    assert driver.call(1, "eth_getBlockByHash", old_hash, False)["hash"] == old_hash
    assert {node.head.hash for node in driver.network.nodes} == {driver.network.chain.head.hash}
    roots = {driver.root(node) for node in (1, 2)}
    assert len(roots) == 1


def test_a_fork_can_lose_the_transactions_of_the_old_blocks() -> None:
    """They are in no block and in no pool; the group is as it was before."""
    driver = prepared()
    pmt_hash = driver.write(1)["commitmentHash"] if not driver.locked() else driver.unlock()["commitmentHash"]
    driver.call(1, "devnet_reorg", 1, True)
    driver.mine()

    assert driver.call(1, "eth_getTransactionReceipt", pmt_hash) is None
    assert driver.locked()


def test_a_fork_deeper_than_the_chain_leaves_the_genesis_block() -> None:
    """The depth is cut at the genesis block."""
    driver = Driver()
    driver.mine(3)
    genesis = driver.network.chain.block(0)
    driver.call(1, "devnet_reorg", 200)

    assert driver.network.chain.block(0) is genesis
    assert driver.head(1) == 4


def test_a_node_that_was_down_during_a_fork_leaves_its_branch_when_it_is_back() -> None:
    """It goes back to the common block and follows the others."""
    driver = prepared()
    driver.call(1, "devnet_setNode", 2, False)
    driver.call(1, "devnet_reorg", 3)
    driver.call(1, "devnet_setNode", 2, True)

    assert driver.network.nodes[1].head is driver.network.chain.head
    assert driver.root(2) == driver.root(1)


def test_dropped_transactions_are_never_mined_until_they_are_sent_again() -> None:
    """The pool is emptied and subscribers are told."""
    driver = Driver()
    driver.create(1, 2)
    listener = Listener()
    driver.call(1, "eth_subscribe", "droppedPendingTransactions", connection=listener)
    raw = driver.raw(b"x", to=APPLICATION)
    pmt_hash = driver.call(1, "eea_sendRawTransaction", raw)
    dropped = driver.call(1, "devnet_dropPendingTransactions")
    driver.mine(2)

    assert dropped == [pmt_hash]
    assert json.loads(listener.frames[0])["params"]["result"] == pmt_hash
    assert driver.call(1, "eth_getTransactionReceipt", pmt_hash) is None
    again = driver.call(1, "eea_sendRawTransaction", raw)
    driver.mine()
    assert driver.call(1, "priv_getTransactionReceipt", again)["status"] == "0x1"


def _last_pmt(driver: Driver) -> str:
    return "0x" + driver.network.chain.head.transactions[0].hash.hex()


def test_executing_markers_delays_the_block_and_then_each_import() -> None:
    """Validators execute a proposal's markers before they agree, and every node does when it imports the block."""
    driver = Driver(marker_ms=100)
    for group in (GROUP, OTHER_GROUP):
        driver.send(encode_add_participants(driver.abi, driver.keys[:2]), group=group)
    made = driver.mine()

    seen = []
    for _ in range(4):
        seen.append(driver.head(1) == made)
        driver.move(0.1001)
    assert seen == [False, False, False, False]
    assert driver.head(1) == made
    assert driver.members(1) == driver.members(2) == tuple(driver.keys[:2])


def test_a_block_that_is_overdue_is_made_when_the_validators_have_imported_the_one_before() -> None:
    """Not a whole period later: the network is as slow as its nodes."""
    driver = Driver(marker_ms=700, block_period_seconds=1.0)
    driver.send(encode_add_participants(driver.abi, driver.keys[:2]))
    driver.move(1.0)
    assert driver.network.chain.head.number == 1
    driver.move(1.0)
    assert driver.network.chain.head.number == 1
    driver.move(0.41)
    assert driver.network.chain.head.number == 2
    driver.move(0.9)
    assert driver.network.chain.head.number == 2


def test_adding_a_member_to_a_history_takes_longer_to_submit() -> None:
    """The bundle is a second payload, whatever its length."""
    driver = prepared(addition_ms=100, bundle_ms_per_transaction=0)
    before = driver.now
    driver.send(encode_add_participants(driver.abi, [driver.keys[2]]))
    assert driver.now - before == pytest.approx(0.1)


def test_sends_wait_for_the_processors_that_the_nodes_share() -> None:
    """Three sends of 100 ms at the same time are done after 100, 100 and 200 ms on two processors."""
    driver = Driver(submission_ms=100, sends_at_once=2)
    api, seen = driver.emulation.apis[0], []
    for number in range(3):
        group = to_base64(bytes([number]) * 32)
        raw = driver.raw(encode_add_participants(driver.abi, driver.keys[:2]), group=group)
        found = api.call("eea_sendRawTransaction", [raw], Caller())
        assert isinstance(found, Submission)
        seen.append(found.delay_seconds)
    assert seen == pytest.approx([0.1, 0.1, 0.2])


def test_marker_transactions_wait_while_other_traffic_fills_the_blocks() -> None:
    """They stay in the pool, are known to who asks for them, and are mined when there is room again."""
    driver = prepared()
    driver.call(1, "devnet_setCongested", True)
    pmt_hash = driver.send(encode_add_participants(driver.abi, [driver.keys[2]]))
    driver.mine(3)
    assert driver.call(1, "eth_getTransactionByHash", pmt_hash)["blockNumber"] is None
    driver.call(1, "devnet_setCongested", False)
    block = driver.mine()
    assert driver.call(1, "eth_getTransactionByHash", pmt_hash)["blockNumber"] == hex(block)
