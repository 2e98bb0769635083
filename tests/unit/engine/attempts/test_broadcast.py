"""In which order nodes get a marker, and what burns one, on the fake network."""

import asyncio

import pytest

from orchestrator.engine.attempts.broadcast import targets
from orchestrator.engine.attempts.settlement import burn
from orchestrator.engine.lanes.executor import BURN_FORMS
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import MarkerAccount
from orchestrator.engine.ports.store import LeaseLostError
from orchestrator.engine.runtime.leases import Leases
from orchestrator.membership.attempt import AttemptStatus
from orchestrator.membership.facts import AttemptUnmined
from orchestrator.membership.retry import RENEW_AFTER_BLOCKS
from tests.fakes.changes import a_change, an_attempt, sent
from tests.fakes.clock import JumpingClock
from tests.fakes.network import CHAIN_ID, FakeMarkers, FakeNetwork, FakeNode

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


async def test_what_burns_a_marker_is_not_sent_for_a_lost_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the lane is not ours any more, no node gets what burns a marker: another replica decides what is sent."""
    network, fleet = await a_network((25, 4, 1))
    marker = MARKERS.make(b"key", CHAIN_ID, MarkerAccount(account="", key=b"k"))
    attempt = sent(an_attempt("lock", AttemptStatus.SIGNED, node="follower", marker=marker))
    monkeypatch.setattr(network, "broadcast", lambda *_: pytest.fail("it was sent"))

    change = a_change("add", attempt=attempt)
    with Leases(JumpingClock()).acting(change.privacy_group_id), pytest.raises(LeaseLostError):
        await burn(fleet, change, attempt, [MARKERS.burn(marker)], 0)
