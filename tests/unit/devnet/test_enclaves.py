"""How the emulated enclaves fail, and what their nodes make of it."""

import pytest

from orchestrator.besu.codec.management_contract import encode_add_participants
from orchestrator.devnet.__main__ import config_from_arguments
from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.errors import DevnetError, RpcError
from tests.unit.devnet.driving import APPLICATION, OTHER_GROUP, Driver

COMMUNICATING = "-50100 Error communicating with enclave"
AWAY = "-50200 Recipient not found for key:"
MISSING = "-50200 NodeMissingPeerUrl"
PROPAGATING = "-50200 NodePropagatingToAllPeers"


def founded(enclave: str, **options: object) -> Driver:
    """A group of nodes 1 and 2."""
    driver = Driver(enclave=enclave, **options)
    driver.create(1, 2)
    return driver


def sent(driver: Driver, node: int = 1) -> tuple[str, float]:
    """Send something to the group; returns the error, or nothing, and the seconds that it took."""
    begun_at, error = driver.now, ""
    try:
        driver.send(b"x", to=APPLICATION, node=node)
    except RpcError as refused:
        error = str(refused)
    return error, round(driver.now - begun_at, 2)


def set_enclave(driver: Driver, node: int, *condition: object) -> None:
    driver.call(1, "devnet_setEnclave", node, *condition)


@pytest.mark.parametrize(
    ("enclave", "condition", "first", "then"),
    [
        ("orion", "killed", (PROPAGATING, 0.0), (PROPAGATING, 0.0)),
        ("orion", "frozen", (COMMUNICATING, 5.0), (COMMUNICATING, 5.0)),
        ("orion", "failing", (PROPAGATING, 0.0), (PROPAGATING, 0.0)),
        ("tessera", "killed", (COMMUNICATING, 0.0), (AWAY, 0.0)),
        ("tessera", "frozen", (COMMUNICATING, 3.8), (AWAY, 0.0)),
        ("tessera", "failing", (COMMUNICATING, 0.0), (COMMUNICATING, 0.0)),
    ],
)
def test_what_a_send_says_while_a_members_enclave_is_away(
    enclave: str, condition: str, first: tuple[str, float], then: tuple[str, float]
) -> None:
    """A dead enclave is told at once, a frozen one after a wait; Tessera forgets it after the first time."""
    driver = founded(enclave)
    set_enclave(driver, 2, condition)
    assert sent(driver) == first
    assert sent(driver) == then


@pytest.mark.parametrize("enclave", ["orion", "tessera"])
def test_what_a_send_says_while_the_nodes_own_enclave_is_away(enclave: str) -> None:
    """With both kinds the node can't communicate: at once with a dead one, after its patience with a frozen one."""
    driver = founded(enclave)
    for condition, seconds in (("killed", 0.0), ("frozen", 5.0), ("failing", 0.0)):
        set_enclave(driver, 1, condition)
        assert sent(driver) == (COMMUNICATING, seconds)


def test_tessera_meets_an_enclave_that_is_back_after_a_moment() -> None:
    """For two seconds it still says that it does not know the recipient, then it takes the transaction."""
    driver = founded("tessera")
    set_enclave(driver, 2, "killed")
    driver.move(6)
    assert sent(driver)[0] == AWAY  # it has noticed without a send
    set_enclave(driver, 2, "up")
    assert sent(driver)[0] == AWAY
    driver.move(2)
    assert sent(driver) == ("", 0.0)


@pytest.mark.parametrize(("enclave", "error", "seconds"), [("orion", MISSING, 60), ("tessera", AWAY, 2)])
def test_an_enclave_that_was_restarted_knows_nobody_at_first(enclave: str, error: str, seconds: float) -> None:
    """Sends through its node say so, until it has met the others again; sends of others to it pass."""
    driver = founded(enclave)
    set_enclave(driver, 1, "killed")
    set_enclave(driver, 1, "up")
    assert sent(driver)[0] == error
    driver.move(seconds)
    assert sent(driver)[0] == ""


def test_a_slow_enclave_is_waited_for_only_so_long() -> None:
    """Tessera waits 3.8 s for another one; what is faster makes the send slow."""
    driver = founded("tessera")
    driver.call(1, "devnet_slowEnclave", 2, 3.0)
    assert sent(driver) == ("", 3.0)
    driver.call(1, "devnet_slowEnclave", 2, 4.0)
    assert sent(driver) == (COMMUNICATING, 3.8)


def test_an_enclave_thaws_by_itself() -> None:
    """Frozen for three seconds, it makes the send that comes then last as long, and its node catches up."""
    driver = founded("tessera")
    set_enclave(driver, 2, "frozen", 3.0)
    assert sent(driver) == ("", 3.0)
    driver.mine()
    assert driver.head(2) == driver.head(1)


def test_the_kinds_are_told_by_who_sends() -> None:
    """In a mixed network each node passes on its own enclave's words."""
    driver = Driver(enclaves={2: "tessera"}, nodes=3)
    driver.create(1, 2)
    set_enclave(driver, 3, "killed")
    for node, error in ((1, PROPAGATING), (2, COMMUNICATING)):
        with pytest.raises(RpcError, match=error):
            driver.send(
                encode_add_participants(driver.abi, [driver.keys[node - 1], driver.keys[2]]),
                node=node,
                group="A" * 43 + "=",
            )


def test_tessera_bundles_slowly_and_up_to_a_limit() -> None:
    """Bundling takes 1.2 times a replay; a history beyond the limit is refused after a long wait."""
    driver = founded("tessera", replay_ms_per_transaction=100, bundle_limit_bytes=10_000, nodes=4)
    driver.write(4)
    driver.lock()
    addition = encode_add_participants(driver.abi, [driver.keys[2]])
    begun_at = driver.now
    driver.send(addition)
    assert driver.now - begun_at == pytest.approx(6 * 0.12)
    driver.mine()
    driver.write(40)
    driver.lock()
    begun_at = driver.now
    with pytest.raises(RpcError, match=COMMUNICATING):
        driver.send(encode_add_participants(driver.abi, [driver.keys[3]]))
    assert driver.now - begun_at == pytest.approx(20.0)


@pytest.mark.parametrize("loses", [True, False])
def test_a_node_may_lose_its_peers_over_its_dead_enclave(loses: bool) -> None:
    """It then stays behind after its enclave is back, without peers, until it is restarted."""
    driver = founded("tessera")
    set_enclave(driver, 2, "killed", loses)
    # A group of node 1 alone: what is sent there reaches no other enclave, and its block holds up node 2 as well.
    driver.execute(encode_add_participants(driver.abi, [driver.keys[0]]), group=OTHER_GROUP)
    assert driver.head(2) == driver.head(1) - 1
    assert "BREACH_OF_PROTOCOL" in driver.call(1, "devnet_nodeLog", 2)[-1]
    set_enclave(driver, 2, "up")
    status = driver.call(1, "devnet_status")[1]
    assert (driver.head(2) == driver.head(1)) is not loses
    assert (status["enclave"], status["peers"] == 0) == ("tessera", loses)
    for up in (False, True):
        driver.call(1, "devnet_setNode", 2, up)
    assert driver.head(2) == driver.head(1)


def test_the_command_line_names_kinds() -> None:
    """One option sets the kind of all enclaves, or of one."""
    config = config_from_arguments(["--enclave", "tessera", "--enclave", "2=orion"])
    assert [config.enclave_of(node).name for node in (1, 2, 3)] == ["tessera", "orion", "tessera"]
    for wrong in (["--enclave", "x"], ["--enclave", "x=orion"], ["--enclave", "9=orion"], ["--peer-loss", "2"]):
        with pytest.raises(DevnetError):
            config_from_arguments(wrong)
    with pytest.raises(DevnetError, match="bundle_limit_bytes"):
        DevnetConfig(bundle_limit_bytes=-1)
