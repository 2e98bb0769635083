"""Judging how well a node is: peers, blocks, clock, gas, marker key and enclave. Pure.

The facts are docs/besu.md#nonces, #replay-measured, #outcomes.
"""

from collections import Counter
from collections.abc import Iterator

from orchestrator.doctor.findings import EnclaveSeen, Expected, Finding, HeadDelivered, Level, NodeSeen, Unanswered
from orchestrator.membership.reasons.cures import RESTART_ALL, RESTART_BESU

API_REMEDY = "List ETH, NET, WEB3, EEA and PRIV (and IBFT, QBFT or CLIQUE) in --rpc-http-api and --rpc-ws-api."


def judge_health(seen: NodeSeen, expected: Expected) -> tuple[Finding, ...]:
    """Return the findings about how well a node is.

    Args:
        seen: What was seen of it.
        expected: What the configuration expects.
    """
    return (
        *_peers(seen),
        *_sync(seen),
        *_head_age(seen, expected),
        *_clock(seen, expected),
        *_gas_price(seen, expected),
        *_marker_key(seen),
        *_enclave(seen),
    )


def unknown(check: str, seen: NodeSeen, what: str, cause: Unanswered, remedy: str = API_REMEDY) -> Finding:
    """Return the finding of a check that could not be made."""
    return Finding(
        check=check,
        level=Level.WARNING,
        node=seen.name,
        what=f"{what} can't be told: {cause.message}",
        why="The check could not be made, so a trouble of this kind would stay unseen.",
        remedy=remedy,
    )


def ok(check: str, seen: NodeSeen, what: str, *, level: Level = Level.OK) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(check=check, level=level, node=seen.name, what=what)


def _peers(seen: NodeSeen) -> Iterator[Finding]:
    if isinstance(seen.peers, Unanswered):
        yield unknown("peers", seen, "the number of peers", seen.peers)
    elif seen.peers == 0:
        yield Finding(
            check="peers",
            level=Level.WARNING,
            node=seen.name,
            what="has no peers",
            why="It hears of no blocks and its PMTs reach no validator.",
            remedy=f"{RESTART_BESU} Else check its bootnodes or static nodes and the port for peers.",
        )
    else:
        yield ok("peers", seen, f"{seen.peers} peers")


def _sync(seen: NodeSeen) -> Iterator[Finding]:
    if isinstance(seen.syncing, Unanswered):
        yield unknown("sync", seen, "whether it is in sync", seen.syncing)
    elif seen.syncing is not None:
        yield Finding(
            check="sync",
            level=Level.WARNING,
            node=seen.name,
            what=f"is catching up: block {seen.syncing.current_block} of {seen.syncing.highest_block}",
            why="Its private nonces and histories are old; nothing is sent through it. A replay looks like this, too.",
            remedy="Wait while it moves; `stands-still` says what holds one that does not.",
        )
    else:
        yield ok("sync", seen, "in sync")


def _head_age(seen: NodeSeen, expected: Expected) -> Iterator[Finding]:
    age = seen.seen_at - seen.head.timestamp
    period = seen.block_seconds or 0.0
    # A head that came while we looked shows that blocks are made, however old the one before was.
    if isinstance(seen.subscription, HeadDelivered) or age <= max(expected.old_head_seconds, 5 * period):
        yield ok("head-age", seen, f"block {seen.head.number}, {max(age, 0):.0f} s old")
        return
    yield Finding(
        check="head-age",
        level=Level.WARNING,
        node=seen.name,
        what=f"its newest block {seen.head.number} is {age:.0f} s old",
        why="Nothing can be changed without new blocks; a replay or an enclave that is down holds a node, too.",
        remedy=f"Look at the validators, at the node's peers and at its enclave. {RESTART_ALL}",
    )


def _clock(seen: NodeSeen, expected: Expected) -> Iterator[Finding]:
    lead = seen.seen_at - seen.head.timestamp
    if isinstance(seen.subscription, HeadDelivered):
        # By a block that was made just now: how late a head is says as much of the chain as of clocks.
        lead = seen.subscription.clock_lead_seconds
    elif lead > 0:
        return  # an old head says nothing about clocks
    if abs(lead) <= expected.clock_skew_seconds:
        yield ok("clock-skew", seen, f"a new block's time is {abs(lead):.0f} s from the local clock")
        return
    yield Finding(
        check="clock-skew",
        level=Level.WARNING,
        node=seen.name,
        what=f"a new block's time is {abs(lead):.0f} s {'behind' if lead > 0 else 'ahead of'} the local clock",
        why="Tokens, deadlines and the age of heads are judged by clocks that should agree.",
        remedy="Run NTP on this machine and on the validators'.",
    )


def _gas_price(seen: NodeSeen, expected: Expected) -> Iterator[Finding]:
    if isinstance(seen.gas_price, Unanswered) or isinstance(seen.base_fee, Unanswered):
        cause = seen.gas_price if isinstance(seen.gas_price, Unanswered) else seen.base_fee
        if isinstance(cause, Unanswered):
            yield unknown("gas-price", seen, "the gas price", cause)
        return
    # What `eth_gasPrice` answers may be less than the base fee, below which nothing is mined.
    wanted = max(seen.gas_price, seen.base_fee or 0)
    if wanted > expected.gas_price:
        yield Finding(
            check="gas-price",
            level=Level.WARNING,
            node=seen.name,
            what=f"wants {wanted} wei, chain.gas_price is {expected.gas_price}",
            why="PMTs copy the private transaction's gas price; a node refuses those below its minimum, or they wait.",
            remedy="Run the network gas-free (--min-gas-price=0), or set chain.gas_price and fund a marker key.",
        )
    elif expected.gas_price > 0:
        yield Finding(
            check="gas-price",
            level=Level.NOTE,
            node=seen.name,
            what=f"chain.gas_price is {expected.gas_price} wei, the node wants {wanted}",
            why="PMTs are paid by the account that signs them; a random marker key has no balance.",
            remedy="Use a fixed, funded marker key on each sending node, or gas price 0.",
        )
    else:
        yield ok("gas-price", seen, "takes gas price 0")


def _marker_key(seen: NodeSeen) -> Iterator[Finding]:
    if isinstance(seen.markers, Unanswered):
        off = seen.markers.reason in {"method_not_found", "method_not_enabled"}
        remedy = (
            API_REMEDY if off else "Look at its enclave, through which it reads private transactions, and at its log."
        )
        yield unknown("pmt-key", seen, "which key signs PMTs", seen.markers, remedy)
        return
    own = seen.markers.own
    senders = Counter(sender for sender, _ in own)
    if not own:
        yield ok(
            "pmt-key",
            seen,
            f"no PMT of this node in the newest {seen.markers.blocks} blocks, so its marker key can't be told",
            level=Level.NOTE,
        )
    # A random key signs one marker, with nonce 0 (docs/besu.md#markers, 3): a later nonce alone shows that it is not.
    elif len(senders) < len(own) or any(nonce > 0 for _, nonce in own):
        ((account, times),) = senders.most_common(1)
        yield Finding(
            check="pmt-key",
            level=Level.WARNING,
            node=seen.name,
            what=f"signs its PMTs with a fixed key: account {account} made {times} of the newest {len(own)}",
            why="Two of its PMTs in one block, of one group or of two, close every group with a transaction in that "
            "block to new nodes for good. Of PMTs that are sent at once it loses some.",
            remedy=_fixed_key_remedy(seen),
        )
    else:
        yield ok("pmt-key", seen, f"each PMT of its members has a sender of its own ({len(own)} PMTs seen)")


def _fixed_key_remedy(seen: NodeSeen) -> str:
    if isinstance(seen.gas_price, int) and seen.gas_price > 0:
        return (
            "Gas has a price here, so that the key is needed: let clients of this node wait until a transaction is "
            "mined before they send the next. The daemon's markers have keys of their own."
        )
    return (
        "Start the node without --privacy-marker-transaction-signing-key-file; until then let its clients wait until a "
        "transaction is mined before they send the next. The daemon's markers have keys of their own."
    )


def _enclave(seen: NodeSeen) -> Iterator[Finding]:
    got = seen.enclave
    if got is None:
        what = "is not checked, nor whether it hosts the node's key: there is no address in nodes.enclave"
        yield ok("enclave", seen, what, level=Level.NOTE)
        return
    if isinstance(got, Unanswered) or got.status != 200:
        what = got.message if isinstance(got, Unanswered) else f"/upcheck answered HTTP {got.status}"
        # It answers, and starting an enclave would be no remedy.
        if isinstance(got, EnclaveSeen) and got.is_node:
            yield Finding(
                check="enclave",
                level=Level.ERROR,
                node=seen.name,
                what=f"nodes.enclave ({seen.enclave_url}) is a node's JSON-RPC, not an enclave",
                why="The daemon asks there whether the enclave is up, and takes the answer for an outage.",
                remedy="Give the address that Besu has in --privacy-url, or leave nodes.enclave out.",
            )
            return
        yield Finding(
            check="enclave",
            level=Level.ERROR,
            node=seen.name,
            what=f"the enclave is not well: {what}",
            why="Without its enclave a node sends no private transaction and stops at the first block that holds one "
            "for it.",
            remedy="Start the enclave, or correct nodes.enclave. The node catches up by itself when it is back; if it "
            "has no peers then, restart its Besu.",
        )
        return
    yield ok("enclave", seen, "/upcheck answers")
    if got.offchain_groups is None:
        yield ok("offchain-groups", seen, "the enclave was not asked for offchain groups", level=Level.NOTE)
    elif got.offchain_groups:
        shown = ", ".join(got.offchain_groups[:3])
        yield Finding(
            check="offchain-groups",
            level=Level.WARNING,
            node=seen.name,
            what=f"the enclave keeps {len(got.offchain_groups)} offchain group(s): {shown}",
            why="Offchain and flexible groups do not work side by side: nodes with flexible groups can't use them.",
            remedy="Move what is in them to flexible groups; keep a node with the old setting for reading until then.",
        )
    else:
        yield ok("offchain-groups", seen, "the enclave keeps no offchain groups")
