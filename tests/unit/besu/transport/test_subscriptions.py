from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.codec.json_rpc import Call, Notification
from orchestrator.besu.codec.results import Head, Log
from orchestrator.besu.errors import ProtocolError
from orchestrator.besu.transport.subscriptions import (
    Gap,
    GapReason,
    Inbox,
    Subscriptions,
    heads,
    private_logs,
    reconnect_delay_seconds,
)

HASH = "0x" + "11" * 32
GROUP = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="


def head_json(number: int) -> dict[str, Any]:
    return {"number": hex(number), "hash": HASH, "parentHash": HASH, "timestamp": "0x1", "transactions": [HASH]}


def head(number: int) -> Head:
    return Head(number, HASH, HASH, 1, (HASH,))


def log_json(block: int) -> dict[str, Any]:
    return {
        "address": "0x" + "22" * 20,
        "topics": [],
        "data": "0x",
        "blockNumber": hex(block),
        "blockHash": HASH,
        "transactionHash": HASH,
        "logIndex": "0x0",
        "removed": False,
    }


def test_topics_are_the_calls_that_besu_takes() -> None:
    """Heads, logs and private logs subscribe and unsubscribe with Besu's methods."""
    assert heads().subscribe == Call("eth_subscribe", ("newHeads",))
    assert heads().unsubscribe("0x1") == Call("eth_unsubscribe", ("0x1",))
    private = private_logs(GROUP, ["0x7b"], ["0x01"])
    assert private.subscribe == Call("priv_subscribe", (GROUP, "logs", {"address": ["0x7b"], "topics": ["0x01"]}))
    assert private.unsubscribe("0x1") == Call("priv_unsubscribe", (GROUP, "0x1"))


def test_a_subscription_starts_with_a_gap() -> None:
    """What happened before a subscription is live was never delivered, so the reader is told to look itself."""
    wanted = Subscriptions()
    local = wanted.add(heads())
    assert not wanted.is_live(local)
    assert wanted.subscribed(local, "0x1") == [(local, Gap(GapReason.STARTED))]
    assert wanted.is_live(local)
    assert wanted.notified(Notification("0x1", head_json(5))) == [(local, head(5))]


def test_local_ids_outlive_connections() -> None:
    """After a reconnection the same reader is served under the server's new id, and told what it may have missed."""
    wanted = Subscriptions()
    local = wanted.add(heads())
    wanted.subscribed(local, "0x1")
    wanted.notified(Notification("0x1", head_json(5)))
    assert wanted.disconnected() == [(local, Gap(GapReason.DISCONNECTED, 5))]
    assert not wanted.is_live(local)
    assert wanted.disconnected() == []
    assert wanted.to_subscribe() == [(local, heads())]
    assert wanted.notified(Notification("0x1", head_json(6))) == []
    assert wanted.subscribed(local, "0x9") == [(local, Gap(GapReason.RESUMED, 5))]
    assert wanted.to_subscribe() == []
    # The resumed reader looks from block 5 on anyway: no second gap for what was missed.
    assert wanted.notified(Notification("0x9", head_json(8))) == [(local, head(8))]


def test_left_out_heads_are_a_gap() -> None:
    """A jump in block numbers is told before the head that jumped."""
    wanted = Subscriptions()
    local = wanted.add(heads())
    wanted.subscribed(local, "0x1")
    wanted.notified(Notification("0x1", head_json(5)))
    assert wanted.notified(Notification("0x1", head_json(6))) == [(local, head(6))]
    assert wanted.notified(Notification("0x1", head_json(9))) == [(local, Gap(GapReason.SKIPPED, 6)), (local, head(9))]
    assert wanted.notified(Notification("0x1", head_json(8))) == [(local, head(8))]


def test_a_gap_in_logs_counts_the_last_block_as_incomplete() -> None:
    """After a log of block 7 another of block 7 may have been missed."""
    wanted = Subscriptions()
    local = wanted.add(private_logs(GROUP))
    wanted.subscribed(local, "0x1")
    ((_, item),) = wanted.notified(Notification("0x1", log_json(7), GROUP))
    assert isinstance(item, Log)
    assert wanted.disconnected() == [(local, Gap(GapReason.DISCONNECTED, 6))]


def test_notifications_that_overtake_the_answer_are_kept() -> None:
    """A head that arrives before the answer to subscribe is delivered after it; one of nobody's is not."""
    wanted = Subscriptions()
    local = wanted.add(heads())
    assert wanted.notified(Notification("0x1", head_json(5))) == []
    assert wanted.notified(Notification("0x2", head_json(5))) == []
    assert wanted.subscribed(local, "0x1") == [(local, Gap(GapReason.STARTED)), (local, head(5))]


def test_what_is_removed_is_neither_delivered_nor_wanted() -> None:
    """A removed subscription is ended on the server and never subscribed again."""
    wanted = Subscriptions()
    local, other = wanted.add(heads()), wanted.add(private_logs(GROUP))
    wanted.subscribed(local, "0x1")
    assert wanted.remove(local) == Call("eth_unsubscribe", ("0x1",))
    assert wanted.remove(local) is None
    assert wanted.notified(Notification("0x1", head_json(5))) == []
    assert wanted.to_subscribe() == [(other, private_logs(GROUP))]
    assert wanted.remove(other) is None
    assert wanted.subscribed(other, "0x2") == []


@pytest.mark.parametrize("result", [None, 5, {}, {"topics": []}, {"parentHash": "x"}])
def test_what_is_neither_head_nor_log_is_refused(result: object) -> None:
    """A notification of something else raises, so that the connection is made anew."""
    wanted = Subscriptions()
    wanted.subscribed(wanted.add(heads()), "0x1")
    with pytest.raises(ProtocolError):
        wanted.notified(Notification("0x1", result))


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3))), st.integers(1, 5))
def test_a_slow_reader_misses_nothing_silently(steps: list[tuple[bool, int]], limit: int) -> None:
    """An inbox never holds more than its limit and a gap, and every item is delivered or lies behind a gap."""
    inbox = Inbox(limit)
    put = 0
    seen = 0
    complete = True
    for is_put, times in steps:
        for _ in range(times):
            if is_put:
                put += 1
                inbox.put(head(put))
                assert len(inbox) <= limit + 1
                continue
            item = inbox.take()
            if isinstance(item, Gap):
                assert item == Gap(GapReason.OVERFLOW, seen or None)
                complete = False
            elif isinstance(item, Head):
                assert item.number == seen + 1 or not complete
                seen, complete = item.number, True


def test_what_waits_for_a_slow_reader_is_bounded_by_its_size() -> None:
    """Heads with thousands of transactions give way to a gap long before as many of them wait as of small ones."""
    inbox = Inbox(1024)
    large = Head(1, HASH, HASH, 1, (HASH,) * 14_000)
    most = 0
    for _ in range(100):
        inbox.put(large)
        most = max(most, len(inbox))
    assert most < 10
    while inbox.take() is not None:
        pass
    for number in range(1024):
        inbox.put(head(number))
    assert len(inbox) == 1024
    assert isinstance(inbox.take(), Head)


@given(st.integers(1, 200), st.floats(0, 1))
def test_reconnections_back_off_within_bounds(failures: int, spread: float) -> None:
    """The delay doubles up to its cap, and chance takes off at most half."""
    delay = reconnect_delay_seconds(failures, first=0.2, longest=15, spread=spread)
    full = min(15.0, 0.2 * 2.0 ** min(failures - 1, 30))
    assert full / 2 <= delay <= full
