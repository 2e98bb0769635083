"""The invariants of a simulation that has come to rest."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.besu.codec.management_contract import Method, encode_call
from orchestrator.devnet.nodes.private_view import state_at
from orchestrator.devnet.private.private_state import GroupState
from tests.simulation.checks import Checks
from tests.simulation.messages import MessageQueue
from tests.simulation.owner import OwnerClient
from tests.simulation.traffic import Application
from tests.simulation.truth import group_bytes
from tests.simulation.world import World

LOCK = encode_call(Method.LOCK)
_UNDONE_BY = {"add": "remove", "remove": "add"}
"""What another request may do while a change waits for its next try: then the change does its part again."""

SAID = frozenset({"group_split", "member_diverged"})
"""Reasons of parked changes that tell a person that members are apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """Looks at everything once it is at rest.

    Attributes:
        world: The simulation.
        checks: What was seen on the way, and the store.
        queue: Where requests were published.
        owner: The other client.
        application: Who writes to the groups.
        groups: The groups.
    """

    world: World
    checks: Checks
    queue: MessageQueue
    owner: OwnerClient
    application: Application
    groups: Sequence[str]

    def check(self) -> None:
        """Look at messages, groups, changes and events."""
        self._check_messages()
        attempts = {
            bytes(raw): (change_id, action, json.loads(members))
            for raw, change_id, action, members in self.checks.rows(
                "SELECT raw, change_id, action, members FROM attempts"
            )
        }
        done: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for group in self.groups:
            for _, record in self.checks.ledger.truth.executed(group):
                ours = attempts.get(record.signed.raw)
                if ours is not None:
                    done.setdefault(ours[0], []).append((ours[1], tuple(ours[2])))
                elif record.signed.raw not in self.owner.raws | self.application.raws:
                    self._broke(f"a transaction executed in {group} that nobody has stored")
            if self.last_lock(group) in attempts:
                self._broke(f"group {group} is left locked by us")
            self._check_together(group)
            self._check_members(group)
        self.check_nodes()
        self._check_changes(done)
        self._check_last_events()
        if self.world.profile.relay:
            self._check_published()

    def last_lock(self, group: str) -> bytes | None:
        """Return the bytes of the transaction that locked a group; None when it is not locked."""
        records = [record for _, record in self.checks.ledger.truth.executed(group)]
        if not records or records[-1].state.contract.can_execute:
            return None
        locks = [record.signed.raw for record in records if record.signed.transaction.data == LOCK]
        return locks[-1] if locks else None

    def _broke(self, what: str) -> None:
        self.checks.broke(None, what)

    def _check_messages(self) -> None:
        for message in self.queue.messages:
            stored = self.checks.rows("SELECT state FROM changes WHERE request_id = ?", message.request_id)
            if message.buried is None and len(stored) != 1:
                self._broke(f"request {message.request_id} ended as {len(stored)} changes")
            if message.buried is not None and message.expected:
                self._broke(f"request {message.request_id} was buried: {message.buried}")

    # --- groups ----------------------------------------------------------------------------------------------------

    def check_nodes(self) -> None:
        """No node stands still for good."""
        for node in self.world.emulation.network.nodes:
            if node.halted is not None and not self.world.reorganises and not self.world.profile.foreign:
                self._broke(f"node {node.number} is halted: {node.halted}")

    def _check_together(self, group: str) -> None:
        """All members' nodes have executed the same; where another client parted them, a change says so.

        After a reorganisation nobody is to blame (docs/besu.md#stale-bundles, 10).
        """
        truth = self.checks.ledger.truth.last(group)
        if truth is None or self.world.reorganises or group in self.checks.ledger.harmed:
            return
        apart = []
        for node in self.world.emulation.network.nodes:
            seen = state_at(node, group_bytes(group), node.head.number)
            if node.key in truth.state.contract.participants and (seen is None or seen.root != truth.state.root):
                apart.append(node.number)
        if apart and not (self.world.profile.foreign and self._is_said(group)):
            self._broke(f"nodes {apart} have another state of {group} than the other members")

    def _is_said(self, group: str) -> bool:
        reasons = self.checks.rows(
            "SELECT reason FROM changes WHERE privacy_group_id = ? AND state = 'parked' AND reason IS NOT NULL", group
        )
        return any(json.loads(reason)["slug"] in SAID for (reason,) in reasons)

    def _check_members(self, group: str) -> None:
        """A group has exactly the members that its requests give, in the order in which they were accepted."""
        truth = self.checks.ledger.truth.last(group)
        if truth is None or self.world.profile.foreign or group in self.checks.overtaken:
            return
        members = set(self.owner.made.get(group, ()))
        for kind, keys, state in self.checks.rows(
            "SELECT kind, members, state FROM changes WHERE privacy_group_id = ? ORDER BY position", group
        ):
            asked = set(json.loads(keys))
            if state != "succeeded":
                if _is_stepwise(kind, asked):
                    return  # it may have done a part
                continue
            match kind:
                case "create_group" | "set_members":
                    members = asked
                case "add_members":
                    members |= asked
                case "remove_members":
                    members -= asked
        if members != set(truth.state.contract.participants):
            self._broke(f"group {group} has {len(truth.state.contract.participants)} members, asked for {len(members)}")

    # --- changes ---------------------------------------------------------------------------------------------------

    def _check_changes(self, done: dict[str, list[tuple[str, tuple[str, ...]]]]) -> None:
        meddled = self.world.profile.foreign
        touched = {
            change_id: {(action, key) for action, keys in actions for key in keys}
            for change_id, actions in done.items()
        }
        for change_id, request_id, kind, group, state, members, effect, repair in self.checks.rows(
            "SELECT change_id, request_id, kind, privacy_group_id, state, members, effect, repair FROM changes"
        ):
            actions = done.get(change_id, [])
            effective = [(action, key) for action, keys in actions for key in keys if action != "lock"]
            by_others = {pair for other, pairs in touched.items() if other != change_id for pair in pairs}
            doubled = sorted(
                {
                    (action, key)
                    for action, key in effective
                    if effective.count((action, key)) > (1 if repair is None else 2)
                    and (_UNDONE_BY.get(action), key) not in by_others
                }
            )
            if doubled and not meddled:
                self._broke(f"request {request_id} did {doubled} more than once")
            if state in ("failed", "cancelled") and effective and not _is_stepwise(kind, json.loads(members)):
                self._broke(f"request {request_id} is {state}, yet it did {effective}")
            if state == "succeeded":
                # Parked behind its effect it lets others' additions pass, and is found done beside them.
                found = "add_members" if kind == "create_group" and effective else kind
                self._check_effect(request_id, found, group, json.loads(members), json.loads(effect))

    def _check_effect(self, request_id: str, kind: str, group: str, members: list[str], effect: Any) -> None:
        number, block_hash = effect["block_number"], effect["block_hash"]
        block = self.world.emulation.network.chain.block(number)
        if block is None or "0x" + block.hash.hex() != block_hash:
            self._broke(f"the block of {request_id}'s effect, {number}, is not on the chain")
            return
        shown = self.checks.ledger.truth.state_at(group, number)
        if group not in self.checks.ledger.harmed and not _fits(kind, set(members), shown):
            self._broke(f"request {request_id} succeeded, yet at block {number} no member shows it")

    # --- events ----------------------------------------------------------------------------------------------------

    def _check_published(self) -> None:
        """Every event is published; again perhaps, but for the first time in order."""
        for group, last in self.checks.sequences.items():
            first_times = list(dict.fromkeys(self.queue.published.get(group or "requests", [])))
            if first_times != list(range(1, last + 1)):
                self._broke(f"events 1 to {last} of {group} were published as {first_times}")

    def _check_last_events(self) -> None:
        for request_id, state, event in self.checks.rows(
            "SELECT c.request_id, c.state, o.type FROM changes c JOIN outbox o ON o.position = "
            "(SELECT MAX(position) FROM outbox WHERE change_id = c.change_id AND type LIKE 'membership.change.%')"
        ):
            if event != f"membership.change.{state}.v1":
                self._broke(f"request {request_id} is {state}, its last event is {event}")


def _is_stepwise(kind: str, asked: Collection[str]) -> bool:
    """Whether a change takes several transactions with an effect, of which a deadline may let the first be the last."""
    return kind == "set_members" or (kind == "remove_members" and len(asked) > 1)


def _fits(kind: str, asked: set[str], state: GroupState | None) -> bool:
    """Whether a group's state is what was asked for."""
    present = set(state.contract.participants) if state is not None else set()
    return {
        "create_group": asked == present,
        "add_members": asked <= present,
        "remove_members": not asked & present,
        "set_members": asked == present,
        "unlock_group": state is not None and state.contract.can_execute,
    }[kind]
