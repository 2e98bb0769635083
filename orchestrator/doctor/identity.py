"""Judging whether a node, its WebSocket and its enclave are those that the configuration says. Pure.

What the proofs are worth: docs/besu.md#looking-before-leaping, 8, and docs/besu.md#enclave-interface, 6.
"""

from collections.abc import Iterator, Sequence

from orchestrator.doctor.findings import EnclaveSeen, Finding, KeysSeen, Level, NodeSeen, Unanswered
from orchestrator.doctor.health import ok


def judge_identities(nodes: Sequence[NodeSeen]) -> tuple[Finding, ...]:
    """Return whether each node is who the configuration says it is.

    Args:
        nodes: All that answer: a mistake is mostly that two of them were mixed up.
    """
    found: list[Finding] = []
    for seen in nodes:
        found += _key(seen, nodes)
        found += _socket(seen, nodes)
        found += _enclave_host(seen, nodes)
    return tuple(found)


def _key(seen: NodeSeen, nodes: Sequence[NodeSeen]) -> Iterator[Finding]:
    keys, check = seen.keys, "enclave-key"
    if isinstance(keys, Unanswered):
        yield Finding(
            check=check,
            level=Level.WARNING,
            node=seen.name,
            what=f"which enclave key it acts as can't be told: {keys.message}",
            why="A key of another node in nodes.enclave_keys would stay unseen until a change fails.",
            remedy="Enable PRIV among its API groups; compare nodes.enclave_keys with its --privacy-public-key-file.",
        )
    elif not keys.foreign:
        yield ok(check, seen, f"acts as {', '.join(keys.own)}")
    elif keys.own:
        yield Finding(
            check=check,
            # A token opens its own tenant's key, and a node's other tenants are refused in the same words
            # (docs/besu.md#looking-before-leaping, 8).
            level=Level.OK if seen.tenant else Level.WARNING,
            node=seen.name,
            what=f"acts as {', '.join(keys.own)}, and not as {', '.join(keys.foreign)}",
            why="" if seen.tenant else "It sends nothing from the others, and keeps no group that only they are in.",
            remedy="" if seen.tenant else f"Under [[nodes]] {seen.name} take the others out:",
            copy=() if seen.tenant else (_keys_line(keys.own),),
        )
    else:
        named = ", ".join(keys.foreign)
        yield Finding(
            check=check,
            level=Level.ERROR,
            node=seen.name,
            what=f"does not act as {named}" + _instead(keys, nodes, "; it acts as"),
            why="The node refuses what is sent from that key, and what it shows is taken for another member's: a proof "
            "would compare the wrong members.",
            remedy=f"Under [[nodes]] {seen.name} write:"
            if keys.others
            else "Set nodes.enclave_keys to what is in the node's --privacy-public-key-file, one line of base64.",
            copy=(_keys_line(keys.others),) if keys.others else (),
        )


def _socket(seen: NodeSeen, nodes: Sequence[NodeSeen]) -> Iterator[Finding]:
    behind, check = seen.socket_identity, "websocket-node"
    if behind is None or (isinstance(behind, Unanswered) and isinstance(seen.subscription, Unanswered)):
        return  # that it is not configured, or not served, has a finding of its own
    if isinstance(behind, Unanswered) or isinstance(seen.identity, Unanswered):
        yield Finding(
            check=check,
            level=Level.NOTE,
            node=seen.name,
            what="whether nodes.ws is this node can't be told: it does not say who it is",
            why="Blocks of another node would be taken for this one's.",
            remedy="Enable NET in --rpc-http-api and --rpc-ws-api.",
        )
        return
    if behind == seen.identity:
        yield ok(check, seen, "nodes.ws and nodes.http are one node")
        return
    other = next((node for node in nodes if node is not seen and node.identity == behind), None)
    swapped = other is not None and other.socket_identity == seen.identity
    whose = "a node that is not configured" if other is None else f"node {other.name}"
    remedy = "Give the address of this node's own WebSocket (--rpc-ws-host, --rpc-ws-port; usually port 8546)."
    lines: tuple[str, ...] = ()
    if swapped and other is not None:
        remedy, lines = "Exchange them:", _both(seen, other, "ws", other.ws_url, seen.ws_url)
    yield Finding(
        check=check,
        # Behind a balancer another replica may answer; that of another member never should.
        level=Level.WARNING if other is None else Level.ERROR,
        node=seen.name,
        what=f"nodes.ws ({seen.ws_url}) leads to {whose}",
        why="Its blocks are taken for this node's: what is asked of this one then is not there yet, and waits for it "
        "miss what happens here.",
        remedy=remedy,
        copy=lines,
    )


def _enclave_host(seen: NodeSeen, nodes: Sequence[NodeSeen]) -> Iterator[Finding]:
    got, check = seen.enclave, "enclave-host"
    if not isinstance(got, EnclaveSeen) or got.keys is None:
        return  # not configured, or not well: told by `enclave`
    keys = got.keys
    if isinstance(keys, Unanswered):
        yield Finding(
            check=check,
            level=Level.ERROR,
            node=seen.name,
            what=f"nodes.enclave ({seen.enclave_url}) is not the enclave's port for Besu: {keys.message}",
            why="Whether the enclave takes transactions can't be seen there: Tessera is up on all its ports.",
            remedy="Give the address that Besu has in --privacy-url (Tessera: the server of type Q2T).",
        )
    elif _hosts(got, seen):
        # That the configuration names another key is told by `enclave-key`: a second remedy would undo the first.
        yield ok(check, seen, f"the enclave hosts {', '.join(_acted(seen))}")
    elif {key for node in nodes for key in node.enclave_keys}.intersection(_acted(seen)):
        yield _foreign_enclave(seen, keys, nodes)
    else:
        yield ok(check, seen, "can't be told before the node's key is right", level=Level.NOTE)


def _foreign_enclave(seen: NodeSeen, keys: KeysSeen, nodes: Sequence[NodeSeen]) -> Finding:
    whose = next((node for node in nodes if node is not seen and set(keys.others) & set(_acted(node))), None)
    swapped = whose is not None and _hosts(whose.enclave, seen)
    lines: tuple[str, ...] = ()
    remedy = "Give the address that Besu has in --privacy-url. If it is this one, the node's "
    remedy += (
        "--privacy-public-key-file holds a key that its enclave lacks: give the enclave that key, or the node the "
    )
    remedy += "enclave's."
    if swapped and whose is not None:
        remedy, lines = "Exchange them:", _both(seen, whose, "enclave", whose.enclave_url, seen.enclave_url)
    return Finding(
        check="enclave-host",
        level=Level.ERROR,
        node=seen.name,
        what=f"the enclave at {seen.enclave_url} does not host {', '.join(_acted(seen))}"
        + _instead(keys, nodes, "; it hosts"),
        why="An enclave that is asked in place of this node's says nothing of it; and a node whose own enclave lacks "
        "its key sends nothing (EnclaveNoMatchingPrivateKey; with Tessera: Error communicating with enclave).",
        remedy=remedy,
        copy=lines,
    )


def _acted(seen: NodeSeen) -> tuple[str, ...]:
    """The keys that a node acts as, whatever the configuration says; the latter where it could not be asked."""
    return seen.enclave_keys if isinstance(seen.keys, Unanswered) else seen.keys.own or seen.keys.others


def _hosts(enclave: EnclaveSeen | Unanswered | None, seen: NodeSeen) -> bool:
    keys = enclave.keys if isinstance(enclave, EnclaveSeen) else None
    return isinstance(keys, KeysSeen) and bool({*keys.own, *keys.others} & set(_acted(seen)))


def _instead(keys: KeysSeen, nodes: Sequence[NodeSeen], word: str) -> str:
    told = []
    for key in keys.others:
        owner = next((node.name for node in nodes if key in node.enclave_keys), None)
        told.append(f"{word} {key}" + (f", which the configuration gives to {owner}" if owner is not None else ""))
    return "".join(told) if told else ", nor as any other configured key" if "acts" in word else ""


def _keys_line(keys: Sequence[str]) -> str:
    return "enclave_keys = [" + ", ".join(f'"{key}"' for key in keys) + "]"


def _both(seen: NodeSeen, other: NodeSeen, name: str, ours: str, theirs: str) -> tuple[str, ...]:
    return (f'{name} = "{ours}"  # of {seen.name}', f'{name} = "{theirs}"  # of {other.name}')
