"""In which order nodes get a marker, and what burns one, on the fake network."""

import asyncio

import pytest

from orchestrator.engine.attempts import broadcast
from orchestrator.engine.attempts.broadcast import offered, targets
from orchestrator.engine.attempts.settlement import burn
from orchestrator.engine.lanes.executor import BURN_FORMS
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import MarkerAccount, NodeTraits
from orchestrator.engine.ports.store import LeaseLostError
from orchestrator.engine.runtime.leases import Leases
from orchestrator.membership.attempt import AttemptStatus
from orchestrator.membership.facts import AttemptUnmined
from orchestrator.membership.retry import RENEW_AFTER_BLOCKS
from tests.fakes.changes import a_change, an_attempt, sent
from tests.fakes.clock import JumpingClock
from tests.fakes.network import CHAIN_ID, FakeMarkers, FakeNetwork, FakeNode
from tests.patience import patient

MARKERS = FakeMarkers()


async def a_network(version: tuple[int, int, int]) -> tuple[FakeNetwork, Fleet]:
    """A follower, which is home, and two validators."""
    network = FakeNetwork()
    nodes = [FakeNode(network, name, name.upper()) for name in ("follower", "first", "second")]
    for node in nodes:
        node.version, node.validator = version, node.name != "follower"
    fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in nodes])
    for watcher in fleet.watchers:
        await watcher.refresh()
    return network, fleet


@pytest.mark.parametrize(
    ("version", "expected"),
    [((23, 10, 3), (["first"], ["follower", "second"])), ((25, 4, 1), (["first", "second"], ["follower"]))],
)
async def test_validators_get_it_first(version: tuple[int, int, int], expected: tuple[list[str], list[str]]) -> None:
    """What a follower passes on may never be mined, so it comes after a validator; from 24.5.0 on after all of them."""
    _, fleet = await a_network(version)
    first, others = await targets(fleet, fleet.named("follower"))
    assert ([watcher.node.name for watcher in first], [watcher.node.name for watcher in others]) == expected


async def test_a_node_that_does_not_say_what_it_is_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers for its head and nothing else holds up nobody's lock: it is waited for a moment."""
    monkeypatch.setattr(broadcast, "TRAITS_SECONDS", 0.01)
    _, fleet = await a_network((25, 4, 1))
    node, never = fleet.named("second").node, asyncio.Event()

    async def traits() -> NodeTraits:
        await never.wait()
        raise AssertionError("nobody lets it go on")

    node.traits = traits  # type: ignore[method-assign] # it takes the question and never answers
    first, others = await asyncio.wait_for(targets(fleet, fleet.named("follower")), 5)
    assert [watcher.node.name for watcher in first] == ["first"]
    assert [watcher.node.name for watcher in others] == ["follower", "second"]


async def test_a_node_that_hangs_holds_up_a_marker_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another one took it; where none did, it is waited for, and may have it after all."""
    monkeypatch.setattr(broadcast, "LATE_SECONDS", 0.01)
    monkeypatch.setattr(broadcast, "OFFER_SECONDS", 0.1)
    _, fleet = await a_network((25, 4, 1))
    never = asyncio.Event()

    async def hangs(raw: bytes, transaction_hash: str) -> None:
        await never.wait()

    async def takes(raw: bytes, transaction_hash: str) -> None:
        """It has it now."""

    hanging, taking = fleet.named("second"), fleet.named("first")
    hanging.node.broadcast = hangs  # type: ignore[method-assign] # it takes the request and never answers
    taking.node.broadcast = takes  # type: ignore[method-assign] # the network knows no such payload
    marker = MARKERS.make(b"key", CHAIN_ID, MarkerAccount(account="", key=b"k"))
    took, late = await offered([taking, hanging], marker.raw, marker.pmt_hash)
    assert took is None
    assert late is not None
    assert (late.reason.detail, late.certain) == ("node second did not take the marker within 0.01 s", False)
    (late,) = await offered([hanging], marker.raw, marker.pmt_hash)
    assert late is not None
    assert late.reason.detail == "node second did not take the marker within 0.1 s"
    assert await offered([], marker.raw, marker.pmt_hash) == []


async def test_what_burns_a_marker_changes_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that shelved one form of it takes another a few blocks later, and whichever is mined burns the marker."""
    network, fleet = await a_network((25, 4, 1))
    marker = MARKERS.make(b"key", CHAIN_ID, MarkerAccount(account="", key=b"k"))
    attempt = sent(an_attempt("lock", AttemptStatus.SIGNED, node="follower", marker=marker))
    change, forms = a_change("add", attempt=attempt), [MARKERS.burn(marker, n) for n in range(BURN_FORMS)]
    shelved: list[str] = []
    monkeypatch.setattr(network, "broadcast", lambda _, transaction_hash: shelved.append(transaction_hash))

    async def tried() -> object:
        burning = asyncio.create_task(burn(fleet, change, attempt, forms, 0))
        while not burning.done():
            await asyncio.sleep(0)
            network.mine()
            for watcher in fleet.watchers:
                await watcher.refresh()
        return await burning

    for _ in range(BURN_FORMS * RENEW_AFTER_BLOCKS):
        assert isinstance(await tried(), AttemptUnmined)
    assert set(shelved) == {form.transaction_hash for form in forms}
    monkeypatch.undo()
    network.broadcast(forms[1].raw, forms[1].transaction_hash)
    network.mine()
    assert await tried() is None


async def test_a_node_that_hangs_holds_up_a_burn_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another one took it: what burns a marker goes out as the marker did."""
    monkeypatch.setattr(broadcast, "LATE_SECONDS", 0.01)
    monkeypatch.setattr(broadcast, "OFFER_SECONDS", 10 * patient(5))
    network, fleet = await a_network((25, 4, 1))
    marker = MARKERS.make(b"key", CHAIN_ID, MarkerAccount(account="", key=b"k"))
    attempt = sent(an_attempt("lock", AttemptStatus.SIGNED, node="follower", marker=marker))
    never, last = asyncio.Event(), asyncio.Event()

    async def hangs(raw: bytes, transaction_hash: str) -> None:
        await never.wait()

    async def takes(raw: bytes, transaction_hash: str) -> None:
        network.broadcast(raw, transaction_hash)
        last.set()

    fleet.named("second").node.broadcast = hangs  # type: ignore[method-assign] # it takes the request and never answers
    fleet.named("follower").node.broadcast = takes  # type: ignore[method-assign] # it is asked after the validators
    burning = asyncio.create_task(burn(fleet, a_change("add", attempt=attempt), attempt, [MARKERS.burn(marker)], 0))
    await asyncio.wait_for(last.wait(), patient(5))
    network.mine()
    while not burning.done():
        await asyncio.sleep(0)
        network.mine()
        for watcher in fleet.watchers:
            await watcher.refresh()
    assert await burning is None


async def test_what_burns_a_marker_is_not_sent_for_a_lost_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the lane is not ours any more, no node gets what burns a marker: another replica decides what is sent."""
    network, fleet = await a_network((25, 4, 1))
    marker = MARKERS.make(b"key", CHAIN_ID, MarkerAccount(account="", key=b"k"))
    attempt = sent(an_attempt("lock", AttemptStatus.SIGNED, node="follower", marker=marker))
    monkeypatch.setattr(network, "broadcast", lambda *_: pytest.fail("it was sent"))

    change = a_change("add", attempt=attempt)
    with Leases(JumpingClock()).acting(change.privacy_group_id), pytest.raises(LeaseLostError):
        await burn(fleet, change, attempt, [MARKERS.burn(marker)], 0)
