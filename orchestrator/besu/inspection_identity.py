"""Judging whether a node, its WebSocket and its enclave are those that the configuration says. Pure.

What the proofs are worth: docs/besu.md#looking-before-leaping, 8, and docs/besu.md#enclave-interface, 6.
"""

from collections.abc import Iterator, Sequence

from orchestrator.besu.inspection import EnclaveSeen, Finding, KeysSeen, Level, NodeSeen, Unanswered
from orchestrator.besu.inspection_health import ok


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
            level=Level.OK if seen.tenant else Level.WARNING,
            node=seen.name,
            what=f"acts as {', '.join(keys.own)}, and not as {', '.join(keys.foreign)}",
            why="" if seen.tenant else "It sends nothing from the others, and keeps no group that only they are in.",
            remedy=""
            if seen.tenant
            else f"Take them out of nodes.enclave_keys: {_setting(seen, _keys_line(keys.own))}",
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
            remedy=_setting(seen, _keys_line(keys.others))
            if keys.others
            else "Set nodes.enclave_keys to what is in the node's --privacy-public-key-file, one line of base64.",
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
    if swapped and other is not None:
        remedy = (
            f"Exchange them: {_setting(seen, _line('ws', other.ws_url))}; {_setting(other, _line('ws', seen.ws_url))}"
        )
    yield Finding(
        check=check,
        # Behind a balancer another replica may answer; that of another member never should.
        level=Level.WARNING if other is None else Level.ERROR,
        node=seen.name,
        what=f"nodes.ws ({seen.ws_url}) leads to {whose}",
        why="Its blocks are taken for this node's: what is asked of this one then is not there yet, and waits for it "
        "miss what happens here.",
        remedy=remedy,
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
    elif not keys.foreign:
        yield ok(check, seen, f"the enclave hosts {', '.join(keys.own)}")
    elif keys.own:
        yield Finding(
            check=check,
            level=Level.WARNING,
            node=seen.name,
            what=f"the enclave hosts {', '.join(keys.own)}, and not {', '.join(keys.foreign)}",
            why="Nothing can be sent from a key that the node's enclave does not host.",
            remedy="Take the key out of nodes.enclave_keys, or give the enclave its private key.",
        )
    else:
        yield _foreign_enclave(seen, keys, nodes)


def _foreign_enclave(seen: NodeSeen, keys: KeysSeen, nodes: Sequence[NodeSeen]) -> Finding:
    named = ", ".join(keys.foreign)
    acts = not isinstance(seen.keys, Unanswered) and bool(seen.keys.own)
    whose = next((node for node in nodes if node is not seen and set(keys.others) & set(node.enclave_keys)), None)
    swapped = whose is not None and _hosts(whose.enclave, seen)
    remedy = "Give the address that Besu has in --privacy-url. If it is this one, the node's --privacy-public-key-file "
    remedy += "holds a key that its enclave lacks: give the enclave that key, or the node the enclave's."
    if swapped and whose is not None:
        ours, theirs = _line("enclave", whose.enclave_url), _line("enclave", seen.enclave_url)
        remedy = f"Exchange them: {_setting(seen, ours)}; {_setting(whose, theirs)}"
    elif not acts and keys.others:
        remedy = _setting(seen, _keys_line(keys.others))
    return Finding(
        check="enclave-host",
        level=Level.ERROR,
        node=seen.name,
        what=f"the enclave at {seen.enclave_url} does not host {named}" + _instead(keys, nodes, "; it hosts"),
        why="An enclave that is asked in place of this node's says nothing of it; and a node whose own enclave lacks "
        "its key sends nothing (EnclaveNoMatchingPrivateKey; with Tessera: Error communicating with enclave).",
        remedy=remedy,
    )


def _hosts(enclave: EnclaveSeen | Unanswered | None, seen: NodeSeen) -> bool:
    keys = enclave.keys if isinstance(enclave, EnclaveSeen) else None
    return isinstance(keys, KeysSeen) and bool(set(keys.others) & set(seen.enclave_keys))


def _instead(keys: KeysSeen, nodes: Sequence[NodeSeen], word: str) -> str:
    told = []
    for key in keys.others:
        owner = next((node.name for node in nodes if key in node.enclave_keys), None)
        told.append(f"{word} {key}" + (f", which the configuration gives to {owner}" if owner is not None else ""))
    return "".join(told) if told else ", nor as any other configured key" if "acts" in word else ""


def _keys_line(keys: Sequence[str]) -> str:
    return "enclave_keys = [" + ", ".join(f'"{key}"' for key in keys) + "]"


def _line(name: str, value: str) -> str:
    return f'{name} = "{value}"'


def _setting(seen: NodeSeen, line: str) -> str:
    return f'Under [[nodes]] name = "{seen.name}" write {line}'
