"""Judging what was seen of nodes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.besu.codec.results import ClientVersion, Head, Syncing
from orchestrator.doctor.checks import CHECKS, TABLE
from orchestrator.doctor.enclave import MEMBER_SETS, member_sets
from orchestrator.doctor.findings import (
    PROBED_BATCH,
    EnclaveSeen,
    Expected,
    Finding,
    HeadDelivered,
    KeysSeen,
    Level,
    MarkerKeys,
    NextBlock,
    NodeSeen,
    NodeSilent,
    Pair,
    Unanswered,
    in_order,
    is_healthy,
)
from orchestrator.doctor.network import judge
from orchestrator.doctor.node import judge_node

NOW = 1_700_000_000.0
EXPECTED = Expected()
REFUSED = Unanswered("method_not_found", "Method not found (-32601)")


def head(number: int = 100, *, age: float = 1.0) -> Head:
    return Head(number=number, hash="0x01", parent_hash="0x00", timestamp=int(NOW - age))


def client(*version: int, product: str = "besu") -> ClientVersion:
    major, minor, patch = version
    return ClientVersion(product, (major, minor, patch), f"{product}/v{major}.{minor}.{patch}")


SKEWED = HeadDelivered(block_number=1, after_seconds=1, clock_lead_seconds=40)
HEALTHY = NodeSeen(
    name="member1",
    url="http://member1:8545",
    ws_url="ws://member1:8546",
    enclave_url="http://enclave1:9102",
    enclave_keys=("A",),
    seen_at=NOW,
    client=client(23, 10, 3),
    configured_version=None,
    most_in_batch=PROBED_BATCH,
    distributes=True,
    chain_id=1337,
    genesis="0xaa",
    api_groups=frozenset({"eth", "net", "web3", "eea", "priv", "ibft"}),
    find_method="privx_findFlexiblePrivacyGroup",
    groups=("g1",),
    foreign_groups=(),
    offchain_answered=Unanswered("method_not_enabled", "Method not enabled (-32604)"),
    validator=True,
    peers=3,
    syncing=None,
    head=head(),
    block_seconds=2.0,
    gas_price=0,
    base_fee=0,
    markers=MarkerKeys(blocks=64, seen=2, own=(("0xs1", 0), ("0xs2", 0))),
    subscription=HeadDelivered(block_number=101, after_seconds=1.2, clock_lead_seconds=0.4),
    enclave=EnclaveSeen(status=200, offchain_groups=(), keys=KeysSeen(own=("A",))),
    keys=KeysSeen(own=("A",)),
    tenant=False,
    identity="0xnode1",
    socket_identity="0xnode1",
)


PAIR = Pair(block_number=9, account="0xp", times=2)
ADDING = NextBlock(number=81, newest=100, markers=1, additions=1, groups=("g",))
SENDING = replace(ADDING, additions=0)


def hosting(keys: KeysSeen | Unanswered) -> EnclaveSeen:
    return EnclaveSeen(status=200, offchain_groups=(), keys=keys)


def worst(findings: tuple[Finding, ...], check: str) -> Level:
    levels = [finding.level for finding in findings if finding.check == check]
    assert levels, f"no finding of {check}"
    return max(levels, key=list(Level).index)


def test_a_healthy_node_has_only_good_findings() -> None:
    """A node that is as it should be gets an ok for each check, and no advice."""
    findings = judge_node(HEALTHY, EXPECTED)
    assert {finding.level for finding in findings} == {Level.OK}
    assert not [finding for finding in findings if finding.remedy]


@pytest.mark.parametrize(
    ("check", "level", "changes"),
    [
        ("version", Level.WARNING, {"client": client(21, 1, 7)}),
        ("version", Level.OK, {"client": client(21, 7, 4)}),
        ("version", Level.ERROR, {"client": client(25, 6, 0)}),
        ("version", Level.ERROR, {"client": client(1, 5, 2)}),
        ("version", Level.ERROR, {"client": client(1, 13, 0, product="Geth")}),
        ("version", Level.WARNING, {"client": REFUSED}),
        ("receives-groups", Level.ERROR, {"client": client(25, 5, 0), "validator": False}),
        ("receives-groups", Level.ERROR, {"client": client(25, 5, 0), "validator": REFUSED}),
        ("receives-groups", Level.WARNING, {"client": client(25, 5, 0), "validator": True}),
        ("chain-id", Level.WARNING, {"chain_id": REFUSED}),
        ("api-groups", Level.ERROR, {"api_groups": frozenset({"eth", "net", "web3", "priv"})}),
        ("api-groups", Level.NOTE, {"api_groups": frozenset({"eth", "net", "web3", "eea", "priv"})}),
        ("api-groups", Level.WARNING, {"api_groups": REFUSED}),
        ("subscriptions", Level.NOTE, {"subscription": None}),
        ("subscriptions", Level.ERROR, {"subscription": Unanswered("timeout", "nothing came in 15 s")}),
        ("subscriptions", Level.ERROR, {"subscription": Unanswered("not_connected", "refused")}),
        ("flexible-groups", Level.ERROR, {"find_method": REFUSED, "groups": REFUSED, "foreign_groups": ()}),
        ("flexible-groups", Level.ERROR, {"find_method": Unanswered("group_unknown", "no"), "groups": REFUSED}),
        ("group-dialect", Level.WARNING, {"foreign_groups": ("g1",)}),
        ("group-dialect", Level.WARNING, {"foreign_groups": REFUSED}),
        ("offchain-methods", Level.ERROR, {"offchain_answered": True}),
        ("offchain-methods", Level.NOTE, {"offchain_answered": Unanswered("unauthorized", "Unauthorized")}),
        ("offchain-methods", Level.WARNING, {"offchain_answered": Unanswered("timeout", "no answer")}),
        ("peers", Level.WARNING, {"peers": 0}),
        ("peers", Level.WARNING, {"peers": REFUSED}),
        ("sync", Level.WARNING, {"syncing": Syncing(50, 100)}),
        ("sync", Level.WARNING, {"syncing": REFUSED}),
        ("head-age", Level.WARNING, {"head": head(age=120), "subscription": None}),
        ("head-age", Level.OK, {"head": head(age=120), "subscription": None, "block_seconds": 30.0}),
        ("head-age", Level.OK, {"head": head(age=120)}),
        ("clock-skew", Level.WARNING, {"subscription": SKEWED}),
        ("clock-skew", Level.WARNING, {"head": head(age=-40), "subscription": None}),
        ("gas-price", Level.WARNING, {"gas_price": 1000}),
        ("gas-price", Level.WARNING, {"base_fee": 7}),
        ("gas-price", Level.WARNING, {"gas_price": REFUSED}),
        ("pmt-key", Level.WARNING, {"markers": MarkerKeys(blocks=64, seen=2, own=(("0xs", 0), ("0xs", 1)))}),
        ("pmt-key", Level.WARNING, {"markers": MarkerKeys(blocks=64, seen=1, own=(("0xs", 9),))}),
        ("pmt-key", Level.NOTE, {"markers": MarkerKeys(blocks=64, seen=0, own=())}),
        ("pmt-key", Level.WARNING, {"markers": REFUSED}),
        ("enclave-key", Level.ERROR, {"keys": KeysSeen(foreign=("A",))}),
        ("enclave-key", Level.WARNING, {"keys": KeysSeen(own=("A",), foreign=("B",))}),
        ("enclave-key", Level.OK, {"keys": KeysSeen(own=("A",), foreign=("B",)), "tenant": True}),
        ("enclave-key", Level.WARNING, {"keys": REFUSED}),
        ("websocket-node", Level.NOTE, {"socket_identity": REFUSED}),
        ("websocket-node", Level.WARNING, {"socket_identity": "0xanother"}),
        ("enclave-host", Level.ERROR, {"enclave": hosting(KeysSeen(foreign=("A",)))}),
        ("enclave-host", Level.ERROR, {"enclave": hosting(REFUSED)}),
        ("enclave", Level.ERROR, {"enclave": EnclaveSeen(status=404, offchain_groups=None, is_node=True)}),
        ("unpriced-sends", Level.WARNING, {"client": client(25, 4, 1), "validator": False, "base_fee": None}),
        ("account-twice", Level.WARNING, {"markers": MarkerKeys(blocks=64, seen=0, own=(), pairs=(PAIR,))}),
        ("enclave", Level.NOTE, {"enclave": None}),
        ("enclave", Level.ERROR, {"enclave": EnclaveSeen(status=500, offchain_groups=None)}),
        ("enclave", Level.ERROR, {"enclave": Unanswered("enclave_unreachable", "refused")}),
        ("offchain-groups", Level.NOTE, {"enclave": EnclaveSeen(status=200, offchain_groups=None)}),
        ("offchain-groups", Level.WARNING, {"enclave": EnclaveSeen(status=200, offchain_groups=("g9",))}),
    ],
)
def test_each_trouble_of_a_node_is_found(check: str, level: Level, changes: dict[str, Any]) -> None:
    """What is wrong with a node shows in its check, with a reason; a warning or an error says what to do."""
    findings = judge([replace(HEALTHY, **changes)], EXPECTED, {"0xa": None}, {"0xa": ("g1",)})
    assert worst(findings, check) is level
    for finding in findings:
        assert finding.check in CHECKS
        assert finding.level in (Level.OK, Level.NOTE) or (finding.why and finding.remedy)


def test_a_gas_price_that_is_paid_is_noted() -> None:
    """Paying for PMTs needs a funded marker key, so it is noted even when the price suffices."""
    assert worst(judge_node(HEALTHY, Expected(gas_price=5)), "gas-price") is Level.NOTE


def test_a_silent_node_is_one_error_and_the_others_are_judged_all_the_same() -> None:
    """A node that does not answer makes the inspection fail and hides nothing of the others."""
    silent = NodeSilent("member2", "http://127.0.0.1:1", Unanswered("node_unreachable", "refused"))
    findings = judge([silent, HEALTHY], EXPECTED, {"0xa": None}, {"0xa": ("g1",)})
    assert not is_healthy(findings)
    assert [f.check for f in findings if f.level is Level.ERROR] == ["reachable"]
    assert {f.check for f in findings if f.node == "member1"} > {"reachable", "peers", "pmt-key"}


def test_a_refused_token_is_told_apart_from_a_dead_node() -> None:
    """When the node answers that the caller is not authorized, the remedy is the token and not the node."""
    refused = NodeSilent("m", "http://h", Unanswered("unauthorized", "Unauthorized (-40100)"))
    (finding,) = [f for f in judge([refused], EXPECTED, {"0xa": None}, {}) if f.check == "reachable"]
    assert "token" in finding.remedy


@pytest.mark.parametrize(
    ("check", "level", "other"),
    [
        ("mixed-versions", Level.WARNING, {"client": client(24, 1, 0)}),
        ("mixed-versions", Level.OK, {}),
        ("same-chain", Level.ERROR, {"chain_id": 1}),
        ("same-chain", Level.ERROR, {"genesis": "0xbb"}),
        ("same-chain", Level.OK, {"genesis": REFUSED}),
        ("head-spread", Level.WARNING, {"head": head(80)}),
        ("head-spread", Level.OK, {"head": head(99)}),
    ],
)
def test_nodes_are_compared(check: str, level: Level, other: dict[str, Any]) -> None:
    """What differs between nodes is told once, for the network."""
    findings = judge([HEALTHY, replace(HEALTHY, name="member2", **other)], EXPECTED, {"0xa": None}, {"0xa": ("g1",)})
    assert worst(findings, check) is level
    assert [f.node for f in findings if f.check == check] == [""]


@pytest.mark.parametrize(("number", "named"), [(0x7FFFFFFFFFFF, "ahead of block 100"), (80, "behind block 100")])
def test_a_node_far_from_the_others_is_named_and_they_are_not(number: int, named: str) -> None:
    """Of three nodes the one that is far ahead, or far behind, is the odd one: the heads of two that agree count."""
    others = [replace(HEALTHY, name=name, head=head(100)) for name in ("member1", "member2")]
    findings = judge([*others, replace(HEALTHY, name="odd", head=head(number))], EXPECTED, {"0xa": None}, {})
    (found,) = [f for f in findings if f.check == "head-spread"]
    assert found.level is Level.WARNING
    assert found.what.startswith(named)
    assert f"odd at {number}" in found.what
    assert "member" not in found.what


def test_accounts_are_told_with_what_they_own() -> None:
    """An account whose key does not load is an error; one that owns nothing is noted; no account is a warning."""
    findings = judge([HEALTHY], EXPECTED, {"0xa": None, "0xb": "wrong password", "0xc": None}, {"0xa": ("g1",)})
    assert [(f.level, f.what.split()[-1]) for f in findings if f.check == "account-key"] == [
        (Level.OK, "signs"),
        (Level.ERROR, "password"),
        (Level.OK, "signs"),
    ]
    assert [f.level for f in findings if f.check == "owned-groups"] == [Level.OK, Level.NOTE]
    assert worst(judge([HEALTHY], EXPECTED, {}, {}), "account-key") is Level.WARNING


def test_what_everybody_should_know_is_always_told() -> None:
    """The early-access state and the enclaves' harmless log line are noted in every inspection."""
    checks = [f.check for f in judge([HEALTHY], EXPECTED, {}, {})]
    assert checks[-2:] == ["early-access", "enclave-log"]


def test_findings_are_ordered_by_node_then_check() -> None:
    """Findings come node by node in the order of the checks, the network's own last."""
    ok = Level.OK
    made = [
        Finding(check="peers", level=ok, what=""),
        Finding(check="peers", level=ok, what="", node="b"),
        Finding(check="version", level=ok, what="", node="b"),
        Finding(check="sync", level=ok, what="", node="a"),
    ]
    assert [(f.node, f.check) for f in in_order(made)] == [
        ("a", "sync"),
        ("b", "version"),
        ("b", "peers"),
        ("", "peers"),
    ]


def test_sets_of_members_are_bounded_and_distinct() -> None:
    """All sets of two and more keys are tried, smallest first, until the bound."""
    assert member_sets(["a", "b", "c"]) == (("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c"))
    many = member_sets([f"k{number}" for number in range(100)])
    assert len(many) == len(set(many)) == MEMBER_SETS
    assert member_sets([]) == ()


def test_every_check_is_explained() -> None:
    """docs/operations.md has a section for each check, which begins with its question, and none for others."""
    text = (Path(__file__).parents[3] / "docs" / "operations.md").read_text("utf-8")
    lines = text.splitlines()
    explained = [(line[5:-1], lines[place + 1]) for place, line in enumerate(lines) if line.startswith("### `")]
    assert explained == [(check.slug, f"*{check.question}*") for check in TABLE]


def test_a_node_that_refuses_batches_is_slower_and_no_failure() -> None:
    """Everything is asked one by one then: a warning with the option to raise, no error."""
    for most in (1, 4):
        findings = judge_node(replace(HEALTHY, most_in_batch=most), EXPECTED)
        assert worst(findings, "batches") is Level.WARNING
        (finding,) = (finding for finding in findings if finding.check == "batches")
        assert "--rpc-http-max-batch-size" in finding.remedy
    assert worst(judge_node(replace(HEALTHY, most_in_batch=REFUSED), EXPECTED), "batches") is not Level.OK


def test_a_node_that_refuses_distribution_can_not_send_changes() -> None:
    """Without the method nothing is sent through the node: an error that names it; no answer is no such verdict."""
    findings = judge_node(replace(HEALTHY, distributes=REFUSED), EXPECTED)
    assert worst(findings, "distribution") is Level.ERROR
    (finding,) = (finding for finding in findings if finding.check == "distribution")
    assert "priv_distributeRawTransaction" in finding.what
    silent = judge_node(replace(HEALTHY, distributes=Unanswered("node_timeout", "no answer")), EXPECTED)
    (finding,) = (finding for finding in silent if finding.check == "distribution")
    assert "priv_distributeRawTransaction" not in finding.what


def test_a_node_that_does_not_say_its_version_has_to_be_configured() -> None:
    """An unknown version is an error that names the setting; with it the configured one is gone by."""
    unsaid = replace(HEALTHY, client=ClientVersion("besu", None, "besu/vnull/linux-x86_64/openjdk-java-17"))
    (finding,) = (finding for finding in judge_node(unsaid, EXPECTED) if finding.check == "version")
    assert finding.level is Level.ERROR
    assert "nodes.besu_version" in finding.remedy
    assert not [f for f in judge_node(unsaid, EXPECTED) if f.check == "find-method"]
    configured = replace(unsaid, configured_version=(23, 10, 3))
    assert worst(judge_node(configured, EXPECTED), "version") is Level.OK
    lossy = replace(unsaid, configured_version=(25, 5, 0), validator=False)
    assert worst(judge_node(lossy, EXPECTED), "receives-groups") is Level.ERROR


def test_a_configured_version_that_the_node_contradicts_is_an_error() -> None:
    """The daemon would treat the node as what it is not."""
    contradicted = replace(HEALTHY, configured_version=(22, 4, 4))
    assert worst(judge_node(contradicted, EXPECTED), "version") is Level.ERROR
    assert worst(judge_node(replace(HEALTHY, configured_version=(23, 10, 3)), EXPECTED), "version") is Level.OK


def test_a_host_name_that_the_node_refuses_is_told_from_a_node_that_is_down() -> None:
    """The remedy is the node's list of hosts, not the firewall."""
    cause = Unanswered("host_not_allowed", "takes no requests under this host name")
    (finding,) = judge([NodeSilent("member1", "http://node:8545", cause)], EXPECTED, {"0x1": None}, {"0x1": ("g",)})[:1]
    assert (finding.check, finding.level) == ("reachable", Level.ERROR)
    assert "--host-allowlist" in finding.remedy


@pytest.mark.parametrize(
    ("changes", "ahead", "level", "word"),
    [
        ({"peers": 0}, ADDING, Level.ERROR, "Restart this node's Besu"),
        ({"enclave": REFUSED}, SENDING, Level.ERROR, "Start the enclave"),
        ({}, ADDING, Level.WARNING, "rescue --node"),
        ({}, SENDING, Level.ERROR, "/receive"),
        ({}, replace(SENDING, markers=0), Level.ERROR, "`Invalid block`"),
        ({}, REFUSED, Level.ERROR, "log"),
    ],
)
def test_what_holds_a_node_is_told_with_its_remedy(
    changes: dict[str, Any], ahead: NextBlock | Unanswered, level: Level, word: str
) -> None:
    """Peers, enclave and the next block tell why a node stands still, and each cause has a remedy of its own."""
    still = replace(HEALTHY, name="member2", head=head(80), identity="0xnode2", socket_identity="0xnode2", **changes)
    findings = judge([HEALTHY, still], EXPECTED, {"0xa": None}, {"0xa": ("g1",)}, {"member2": ahead})
    (found,) = [f for f in findings if f.check == "stands-still" and f.node == "member2"]
    assert found.level is level
    assert "stands at block 80 while others have 100" in found.what
    assert word in " ".join((found.remedy, *found.copy))
    (well,) = [f for f in findings if f.check == "stands-still" and f.node == "member1"]
    assert well.level is Level.OK
