"""Which nonce of a marker account is whose, on both databases."""

from datetime import timedelta

import pytest

from orchestrator.membership.attempt import AttemptStatus
from orchestrator.store import SqlChangeStore
from orchestrator.store.units.marker_nonces import ABANDONED_AFTER
from tests.fakes.changes import a_change, a_step, an_attempt, led
from tests.fakes.clock import START, JumpingClock


async def test_a_nonce_is_given_once(store: SqlChangeStore) -> None:
    """Whichever replica asks second is told to look for another; the next nonce is free again."""
    assert await store.reserve_marker_nonce("0xa", 3, "one")
    assert not await store.reserve_marker_nonce("0xa", 3, "two")
    assert not await store.reserve_marker_nonce("0xa", 2, "two"), "a node that is behind counts fewer"
    assert await store.reserve_marker_nonce("0xb", 3, "two")
    assert await store.reserve_marker_nonce("0xa", 4, "two")


async def test_what_is_given_back_is_free(store: SqlChangeStore) -> None:
    """Only who has it can give it back."""
    assert await store.reserve_marker_nonce("0xa", 3, "one")
    await store.free_marker_nonce("0xa", 3, "two")
    assert not await store.reserve_marker_nonce("0xa", 3, "two")
    await store.free_marker_nonce("0xa", 3, "one")
    assert await store.reserve_marker_nonce("0xa", 3, "two")


async def test_a_dead_replicas_nonce_is_free_after_a_while(store: SqlChangeStore, clock: JumpingClock) -> None:
    """It died between the reservation and the commit of its attempt: no node has that marker."""
    assert await store.reserve_marker_nonce("0xa", 3, "one")
    await clock.sleep((ABANDONED_AFTER - timedelta(seconds=1)).total_seconds())
    assert not await store.reserve_marker_nonce("0xa", 3, "two")
    await clock.sleep(2)
    assert await store.reserve_marker_nonce("0xa", 3, "two")


@pytest.mark.parametrize("status", AttemptStatus)
async def test_a_stored_attempt_keeps_its_nonce(
    store: SqlChangeStore, clock: JumpingClock, status: AttemptStatus
) -> None:
    """However old it is: its marker, or what burns it, may be mined any time. One that never got through frees it."""
    attempt = an_attempt("1", status)
    assert await store.reserve_marker_nonce("0xa", 3, attempt.attempt_id)
    change = a_change("1")
    await store.accept(change, "hash", ())
    (lane,) = await store.claim(holder="one", lease=timedelta(hours=9), limit=1, now=START + timedelta(seconds=1))
    await store.record(lane, a_step(change, led(change, attempt=attempt), attempt))
    await clock.sleep(10 * ABANDONED_AFTER.total_seconds())
    assert await store.reserve_marker_nonce("0xa", 3, "two") is (status is AttemptStatus.VOID)
