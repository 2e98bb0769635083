"""Judging what a node is and offers. Pure; the facts are docs/besu.md#versions."""

from collections.abc import Iterator

from orchestrator.besu.versions import native_abi
from orchestrator.doctor.findings import PROBED_BATCH, Expected, Finding, Level, NodeSeen, NodeSilent, Unanswered
from orchestrator.doctor.health import API_REMEDY, judge_health, ok, unknown
from orchestrator.membership.besu_lines import (
    LOSES_ADDED_GROUPS,
    PASSES_OVER_UNPRICED_SINCE,
    REMOVED_IN,
    UNLOCK_SINCE,
    dotted,
)

FIRST_USABLE = (1, 5, 3)
"""Groups of earlier versions are unusable since 1.5.3."""

REQUIRED_APIS = ("eth", "net", "web3", "eea", "priv")
CONSENSUS_APIS = ("ibft", "qbft", "clique")

NO_HEAD = "delivered no head over WebSocket"
"""How the finding of a WebSocket begins that is open and silent."""

_SILENCE_REMEDIES = {
    "credentials_refused": "Renew what proves us to the node (token_file, nodes.token, password_file); is it for this "
    "node?",
    "credentials_unavailable": "Mend what the node's credentials come from, as the message says.",
    "unauthorized": "Renew the token in token_file; check its permissions and its enclave key.",
    "host_not_allowed": "Add the host name of nodes.http to the node's --host-allowlist.",
}
_NOT_ON = frozenset({"method_not_found", "method_not_enabled", "privacy_disabled"})


def judge_silent(silent: NodeSilent) -> Finding:
    """Return the one finding of a node that does not answer."""
    return Finding(
        check="reachable",
        level=Level.ERROR,
        node=silent.name,
        what=f"{silent.url} does not answer: {silent.cause.message}",
        why="Members on this node can't be changed, and changes of groups with them can't be proven.",
        remedy=_SILENCE_REMEDIES.get(
            silent.cause.reason,
            "Start the node, or correct nodes.http; check what stands between (firewall, proxy, TLS and the "
            "certificate that it may ask for).",
        ),
    )


def judge_node(seen: NodeSeen, expected: Expected) -> tuple[Finding, ...]:
    """Return the findings about one node.

    Args:
        seen: What was seen of it.
        expected: What the configuration expects.
    """
    return (
        Finding(check="reachable", level=Level.OK, node=seen.name, what="answers"),
        *_batches(seen),
        *_chain_id(seen),
        *_version(seen),
        *_receives(seen),
        *_unpriced(seen),
        *_apis(seen),
        *_distribution(seen),
        *_subscription(seen),
        *_flexible(seen),
        *_offchain_methods(seen),
        *judge_health(seen, expected),
    )


def _batches(seen: NodeSeen) -> Iterator[Finding]:
    if isinstance(seen.most_in_batch, Unanswered):
        yield unknown("batches", seen, "whether it takes batches", seen.most_in_batch)
    elif seen.most_in_batch < PROBED_BATCH:
        yield Finding(
            check="batches",
            level=Level.WARNING,
            node=seen.name,
            what="takes no batches of requests"
            if seen.most_in_batch == 1
            else f"takes at most {seen.most_in_batch} requests at once",
            why="Each look at a group then takes an HTTP request for each call: changes and audits are slower.",
            remedy="Raise --rpc-http-max-batch-size, and let what stands before the node pass JSON arrays of 1 MiB.",
        )
    else:
        yield ok("batches", seen, "takes batches of requests")


def _distribution(seen: NodeSeen) -> Iterator[Finding]:
    if seen.distributes is True:
        yield ok("distribution", seen, "distributes private transactions for markers of the daemon's own")
    elif isinstance(seen.distributes, Unanswered) and seen.distributes.reason not in _NOT_ON:
        yield unknown("distribution", seen, "whether it distributes private transactions", seen.distributes)
    else:
        yield Finding(
            check="distribution",
            level=Level.ERROR,
            node=seen.name,
            what="does not distribute private transactions (priv_distributeRawTransaction)",
            why="Changes that would be sent through it park: a marker that the node signs itself has no hash before it "
            "is sent, and can't be sent through another node or taken back.",
            remedy="Enable PRIV among the node's API groups, and let what stands before it pass the method.",
        )


def _chain_id(seen: NodeSeen) -> Iterator[Finding]:
    if isinstance(seen.chain_id, Unanswered):
        yield unknown("chain-id", seen, "the chain id", seen.chain_id)
    else:
        yield ok("chain-id", seen, f"chain id {seen.chain_id}")


def _version(seen: NodeSeen) -> Iterator[Finding]:
    client = seen.client
    if isinstance(client, Unanswered):
        yield unknown("version", seen, "the version", client)
        return
    text, version = client.text, seen.version
    if client.product.lower() != "besu":
        yield Finding(
            check="version",
            level=Level.ERROR,
            node=seen.name,
            what=f"is {text}, not Besu",
            why="Flexible privacy groups are a feature of Hyperledger Besu.",
            remedy="Give the address of a Besu node.",
        )
    elif version is None:
        yield Finding(
            check="version",
            level=Level.ERROR,
            node=seen.name,
            what=f"does not say its version: {text}",
            why="The contract that new groups get, and what an addition is, depend on it; changes are parked.",
            remedy="Set nodes.besu_version to the version of Besu that this build was made from.",
        )
    # A build that does not say its version can't contradict the configuration.
    elif client.version not in (None, version):
        yield Finding(
            check="version",
            level=Level.ERROR,
            node=seen.name,
            what=f"runs {text}, while nodes.besu_version says {dotted(version)}",
            why="The daemon goes by the configuration, and would treat the node as another version than it is.",
            remedy="Correct nodes.besu_version, or leave it out: this node says its version itself.",
        )
    elif version >= REMOVED_IN:
        yield Finding(
            check="version",
            level=Level.ERROR,
            node=seen.name,
            what=f"runs {text}",
            why="Privacy was removed from Besu with 25.6.0.",
            remedy="Run Besu 25.4.1 or older on every member's node.",
        )
    elif version < FIRST_USABLE:
        yield Finding(
            check="version",
            level=Level.ERROR,
            node=seen.name,
            what=f"runs {text}",
            why="Groups that versions before 1.5.3 create can't be used by any later version.",
            remedy="Run a newer Besu on every member's node, and create new groups there.",
        )
    # docs/besu.md#versions, 5: what looks like an unlock is refused, and simulations say that it would pass.
    elif version < UNLOCK_SINCE:
        yield Finding(
            check="version",
            level=Level.WARNING,
            node=seen.name,
            what=f"runs {text}",
            why="Before 21.7.4 unlock() fails; a lock is undone by an addition of nobody instead.",
            remedy="The daemon does that by itself; other clients of the group need to know. Consider a newer version.",
        )
    else:
        yield ok("version", seen, f"runs {text}")


def _receives(seen: NodeSeen) -> Iterator[Finding]:
    """Besu 25.5.0 loses the groups that its node is added to: always when it makes no blocks."""
    # docs/besu.md#versions, 6: 11 of 11 nodes that are no validator, 2 of 11 validators.
    if seen.version != LOSES_ADDED_GROUPS:
        return
    makes_blocks = seen.validator is True
    role = "makes blocks" if makes_blocks else "makes no blocks"
    if isinstance(seen.validator, Unanswered):
        role = "may or may not make blocks"
    yield Finding(
        check="receives-groups",
        level=Level.WARNING if makes_blocks else Level.ERROR,
        node=seen.name,
        what=f"runs Besu 25.5.0 and {role}",
        why="Such a node sometimes loses a group that it is added to, and nobody is told."
        if makes_blocks
        else "Such a node never receives a group that it is added to, and nobody is told.",
        remedy="Run Besu 25.4.1 or older on this node."
        + ("" if makes_blocks else " Additions of its keys are parked until then; nothing overrides that."),
    )


def _unpriced(seen: NodeSeen) -> Iterator[Finding]:
    """Where there is no base fee, later versions mine without a price only what came through a validator's own API."""
    if seen.version is None or seen.version < PASSES_OVER_UNPRICED_SINCE or seen.base_fee is not None:
        return
    # What comes through a validator's own API is mined there (docs/besu.md#markers, 14), and only what has no price is
    # passed over.
    if seen.validator is not False or seen.gas_price != 0:
        return
    yield Finding(
        check="unpriced-sends",
        level=Level.WARNING,
        node=seen.name,
        what=f"runs Besu {dotted(seen.version)} and makes no blocks, on a network without gas price and base fee",
        why="Validators keep what came through it and never mine it: applications that send through it get a hash, and "
        "nothing follows. The daemon sends its markers through validators.",
        remedy="Start the validators with --tx-pool=legacy, or let applications send through a validator.",
    )


def _apis(seen: NodeSeen) -> Iterator[Finding]:
    if isinstance(seen.api_groups, Unanswered):
        yield unknown("api-groups", seen, "the enabled API groups", seen.api_groups)
        return
    missing = [name.upper() for name in REQUIRED_APIS if name not in seen.api_groups]
    if missing:
        yield Finding(
            check="api-groups",
            level=Level.ERROR,
            node=seen.name,
            what=f"does not enable {', '.join(missing)}",
            why="Changes are sent with EEA, read with PRIV and followed with ETH; NET and WEB3 tell who it is.",
            remedy=API_REMEDY,
        )
    # Only these list the validators (docs/besu.md#consensus-and-validators, 1).
    elif not any(name in seen.api_groups for name in CONSENSUS_APIS):
        yield Finding(
            check="api-groups",
            level=Level.NOTE,
            node=seen.name,
            what="enables none of IBFT, QBFT and CLIQUE",
            why="Without it nobody can tell whether the node makes blocks, which matters for Besu 25.5.0.",
            remedy="Add the consensus protocol's group to --rpc-http-api.",
        )
    else:
        shown = ", ".join(sorted(name.upper() for name in seen.api_groups))
        yield ok("api-groups", seen, f"enables {shown}")


def _subscription(seen: NodeSeen) -> Iterator[Finding]:
    got = seen.subscription
    if got is None:
        yield Finding(
            check="subscriptions",
            level=Level.NOTE,
            node=seen.name,
            what="has no WebSocket address in the configuration",
            why="Heads are polled instead, which costs a call a second and notices blocks later.",
            remedy="Start the node with --rpc-ws-enabled and give its address as nodes.ws.",
        )
    elif isinstance(got, Unanswered) and got.reason == "timeout":
        yield Finding(
            check="subscriptions",
            level=Level.ERROR,
            node=seen.name,
            what=f"{NO_HEAD}: {got.message}",
            why="The daemon falls back to polling; a connection that delivers nothing is often cut by a proxy.",
            remedy="Check that blocks are made, and that what stands between lets WebSocket frames through.",
        )
    elif isinstance(got, Unanswered):
        yield Finding(
            check="subscriptions",
            level=Level.ERROR,
            node=seen.name,
            what=f"does not subscribe over WebSocket: {got.message}",
            why="The daemon falls back to polling.",
            remedy="Check nodes.ws, --rpc-ws-enabled and --rpc-ws-api (ETH, EEA, PRIV); with a token, its permissions.",
        )
    else:
        yield ok("subscriptions", seen, f"delivered block {got.block_number} after {got.after_seconds:.1f} s")


def _flexible(seen: NodeSeen) -> Iterator[Finding]:
    found = seen.find_method
    if isinstance(found, Unanswered):
        # Without the method the node's options are at fault; with it something else is, such as the token or a node
        # that lags.
        off = found.reason in _NOT_ON
        yield Finding(
            check="flexible-groups",
            level=Level.ERROR,
            node=seen.name,
            what=f"{'has no method to find' if off else 'does not find'} flexible privacy groups: {found.message}",
            why="Without them there is nothing to be a member of."
            if off
            else "The node may be catching up, or the token's enclave key is none of the configured ones.",
            remedy="Start the node with --privacy-enabled and --privacy-flexible-groups-enabled (before 22.1 "
            "--privacy-onchain-groups-enabled), and list EEA and PRIV among its API groups."
            if off
            else "Look at the node's log; compare nodes.enclave_keys with the node's --privacy-public-key-file.",
        )
        return
    count = "" if isinstance(seen.groups, Unanswered) else f", member of {len(seen.groups)}"
    yield ok("flexible-groups", seen, f"flexible privacy groups are on{count}")
    if seen.version is None:
        return
    abi = native_abi(seen.version).value
    yield ok("find-method", seen, f"finds groups with {found}; creates and extends groups of the {abi}[] dialect")
    if isinstance(seen.foreign_groups, Unanswered):
        yield unknown(
            "group-dialect", seen, "the dialect of its groups", seen.foreign_groups, "Look at the node's log."
        )
    elif seen.foreign_groups:
        yield Finding(
            check="group-dialect",
            level=Level.WARNING,
            node=seen.name,
            what=f"{len(seen.foreign_groups)} of its groups can't be extended: {', '.join(seen.foreign_groups[:3])}",
            why=f"A group keeps its creator's contract; this version recognises only additions by {abi}[]. Contracts "
            "changed with Besu 22.10.0.",
            remedy="Run the line of Besu that created them, or create such groups anew.",
        )
    elif seen.groups:
        yield ok("group-dialect", seen, "its groups speak the same dialect")


def _offchain_methods(seen: NodeSeen) -> Iterator[Finding]:
    got = seen.offchain_answered
    # Flexible groups switch these methods off (docs/besu.md#versions, 7): an answer is the trouble here.
    if got is True:
        yield Finding(
            check="offchain-methods",
            level=Level.ERROR,
            node=seen.name,
            what="answers the methods of offchain privacy groups",
            why="A node has either offchain or flexible groups; this one can't have members of flexible groups.",
            remedy="Start the node with --privacy-flexible-groups-enabled; its offchain groups can't be used then.",
        )
    elif isinstance(got, Unanswered) and got.reason == "unauthorized":
        yield ok("offchain-methods", seen, "the token does not permit offchain group methods", level=Level.NOTE)
    elif isinstance(got, Unanswered) and got.reason not in _NOT_ON:
        yield unknown("offchain-methods", seen, "whether offchain groups are on", got, "Look at the node's log.")
    else:
        yield ok(
            "offchain-methods",
            seen,
            'offchain group methods are off: "Method not enabled" for priv_createPrivacyGroup is as it should be',
        )
