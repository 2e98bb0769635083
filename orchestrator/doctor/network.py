"""Judging the configured nodes together, the accounts, and what concerns every such network. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from orchestrator.doctor.findings import (
    Expected,
    Finding,
    Level,
    NextBlock,
    NodeSeen,
    NodeSilent,
    Unanswered,
    in_order,
)
from orchestrator.doctor.identity import judge_identities
from orchestrator.doctor.node import NO_HEAD, judge_node, judge_silent
from orchestrator.doctor.pairs import closed_by_pairs, pair_findings
from orchestrator.doctor.standstill import standstill_findings
from orchestrator.membership.besu_lines import dotted
from orchestrator.membership.heads import newest
from orchestrator.membership.reasons.cures import RESTART_ALL

SPREAD_BLOCKS: Final = 5
SHOWN_GROUPS: Final = 3
NO_BLOCKS: Final = "Nor did any other node: the chain makes no blocks, and nothing can be changed."

ALWAYS: Final = (
    Finding(
        check="early-access",
        level=Level.NOTE,
        what="flexible privacy groups are an early-access feature of Besu",
        why="Besu's documentation advises against them in production, and privacy was removed with Besu 25.6.0.",
        remedy="Plan for what comes after; keep the versions of all members' nodes together.",
    ),
    Finding(
        check="enclave-log",
        level=Level.NOTE,
        what="in the enclaves' logs these are expected: Orion's PrivacyGroupNotFound, Tessera's `Message with hash … "
        "was not found` (INFO)",
        why="Enclaves do not know flexible groups, and are asked for the payloads of others' transactions, too.",
        remedy="Leave them out of alerts.",
    ),
)


def judge(
    nodes: Sequence[NodeSeen | NodeSilent],
    expected: Expected,
    accounts: Mapping[str, str | None],
    owned: Mapping[str, Sequence[str]],
    standing: Mapping[str, NextBlock | Unanswered] | None = None,
    unreplayable: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """Return all findings, in the order in which they are shown.

    Args:
        nodes: What was seen of each configured node.
        expected: What the configuration expects.
        accounts: By address, why the account does not sign; None when it does.
        owned: By address, ids of the groups that the account owns, as far as they are known.
        standing: By name, the next block of each node that stands still while others move.
        unreplayable: By group that is known to have a block that can't be replayed, the block and why.
    """
    found: list[Finding] = []
    for node in nodes:
        found += [judge_silent(node)] if isinstance(node, NodeSilent) else judge_node(node, expected)
    answering = [node for node in nodes if isinstance(node, NodeSeen)]
    found += judge_identities(answering)
    # What the daemon's watch remembers goes before: it knows the first such block, the newest ones show a later one.
    closed = closed_by_pairs(answering) | dict(unreplayable or {})
    found += standstill_findings(answering, standing or {}, closed)
    found += pair_findings(answering, frozenset(unreplayable or {}))
    found += _same_chain(answering)
    found += _versions(answering)
    found += _spread(answering)
    found += _accounts(accounts, owned)
    return in_order((*_explained(found, standing or {}), *ALWAYS))


def _explained(findings: Sequence[Finding], standing: Mapping[str, NextBlock | Unanswered]) -> Iterator[Finding]:
    """Take back what follows from nodes, or the whole chain, standing still: one cause has one remedy."""
    heard = [finding for finding in findings if finding.check == "subscriptions" and finding.level is not Level.NOTE]
    nowhere = len(heard) > 1 and all(finding.what.startswith(NO_HEAD) for finding in heard)
    for finding in findings:
        silent = finding.check == "subscriptions" and finding.what.startswith(NO_HEAD)
        if silent and nowhere:
            yield replace(finding, why=NO_BLOCKS, remedy=f"Look at the validators. {RESTART_ALL}")
        elif silent and finding.node in standing:
            what = "its WebSocket delivers no head, since the node stands still: see `stands-still`"
            yield Finding(check=finding.check, level=Level.NOTE, node=finding.node, what=what)
        else:
            yield finding


def _values(nodes: Sequence[NodeSeen], read: Callable[[NodeSeen], object]) -> dict[object, list[str]]:
    found: dict[object, list[str]] = {}
    for node in nodes:
        value = read(node)
        if not isinstance(value, Unanswered):
            found.setdefault(value, []).append(node.name)
    return found


def _listed(values: Mapping[object, Sequence[str]]) -> str:
    return "; ".join(f"{value} on {', '.join(names)}" for value, names in values.items())


def _same_chain(nodes: Sequence[NodeSeen]) -> Iterator[Finding]:
    ids = _values(nodes, lambda node: node.chain_id)
    genesis = _values(nodes, lambda node: node.genesis)
    different = ids if len(ids) > 1 else genesis if len(genesis) > 1 else None
    if different is not None:
        yield Finding(
            check="same-chain",
            level=Level.ERROR,
            what=f"the nodes are on different chains: {_listed(different)}",
            why="A group lives on one chain; signatures are bound to its id.",
            remedy="Configure one daemon for each chain.",
        )
    elif ids:
        yield Finding(check="same-chain", level=Level.OK, what=f"{len(nodes)} node(s) on one chain")


def _versions(nodes: Sequence[NodeSeen]) -> Iterator[Finding]:
    unsaid = Unanswered("version_unknown", "no version is said")
    versions = _values(nodes, lambda node: unsaid if node.version is None else dotted(node.version))
    if len(versions) > 1:
        yield Finding(
            check="mixed-versions",
            level=Level.WARNING,
            what=f"the nodes run different versions: {_listed(versions)}",
            why="Versions differ in the management contract, in replay and in storage; members of one group that run "
            "different ones can drift apart silently.",
            remedy="Run the same Besu version on all members' nodes.",
        )
    elif versions:
        yield Finding(check="mixed-versions", level=Level.OK, what=f"all run {next(iter(versions))}")


def _spread(nodes: Sequence[NodeSeen]) -> Iterator[Finding]:
    heads = {node.name: node.head.number for node in nodes}
    best = newest(heads.values())
    behind = {name: head for name, head in heads.items() if best - head > SPREAD_BLOCKS}
    ahead = {name: head for name, head in heads.items() if head - best > SPREAD_BLOCKS}
    if ahead:
        told = ", ".join(f"{name} at {head}" for name, head in ahead.items())
        yield Finding(
            check="head-spread",
            level=Level.WARNING,
            what=f"ahead of block {best}, which every other node is at or below: {told}",
            why="What no second node shows decides nothing: the node is on a branch of its own, overstates its head, "
            "or all the others stand still.",
            remedy="Compare the hash of a block of it with the others' (eth_getBlockByNumber), and look at its peers.",
        )
    if behind:
        told = ", ".join(f"{name} at {head}" for name, head in behind.items())
        yield Finding(
            check="head-spread",
            level=Level.WARNING,
            what=f"behind block {best}: {told}",
            why="Nothing is sent through a node that is behind, and a replay, its enclave or its peers may hold it.",
            remedy="`stands-still` says of each that does not move what holds it; one that moves catches up.",
        )
    if len(heads) > 1 and not behind and not ahead:
        yield Finding(check="head-spread", level=Level.OK, what=f"all within {SPREAD_BLOCKS} blocks of block {best}")


def _accounts(accounts: Mapping[str, str | None], owned: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    if not accounts:
        yield Finding(
            check="account-key",
            level=Level.WARNING,
            what="no account is configured",
            why="Groups can be watched and audited, and none can be changed.",
            remedy="Add the owner's key under [[accounts]].",
        )
    for address, trouble in accounts.items():
        if trouble is not None:
            yield Finding(
                check="account-key",
                level=Level.ERROR,
                what=f"{address} does not sign: {trouble}",
                why="Changes of groups that this account owns wait until it does.",
                remedy="Mend what the message names (docs/signers.md).",
            )
            continue
        yield Finding(check="account-key", level=Level.OK, what=f"{address} signs")
        groups = owned.get(address, ())
        shown = ": " + ", ".join(groups[:SHOWN_GROUPS]) + (" …" if len(groups) > SHOWN_GROUPS else "") if groups else ""
        yield Finding(
            check="owned-groups",
            level=Level.OK if groups else Level.NOTE,
            what=f"{address} owns {len(groups)} known group(s){shown}",
            why="" if groups else "Only the account that created a group may change it.",
        )
