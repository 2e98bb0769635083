"""The invariants, checked after every commit, at every send and at the end."""

import base64
import json
from typing import Any

from orchestrator.besu.management_contract import Method, encode_call
from orchestrator.besu.private_transaction import decode_private_transaction
from orchestrator.devnet.enclave import TransactionPayload
from orchestrator.devnet.head_maps import GroupTimeline
from orchestrator.devnet.private_state import ExecutedTransaction, GroupState
from orchestrator.membership.model import ENDED, RESTING, State
from orchestrator.store.database import Database
from orchestrator.store.recording import Step
from tests.simulation.messages import Message, MessageQueue
from tests.simulation.owner import OwnerClient
from tests.simulation.world import Life, World

ENDED_STATES = frozenset(state.value for state in ENDED)
RESTING_FOR_GOOD = frozenset(state.value for state in RESTING - {State.QUEUED})
LOCK = encode_call(Method.LOCK)
_UNDONE_BY = {"add": "remove", "remove": "add"}
"""What another request may do while a change waits for its next try: then the change does its part again."""


class InvariantBrokenError(AssertionError):
    """What must hold does not."""


class Checks:
    """Looks at the store and the chain from outside, past the code under test.

    Args:
        world: The simulation.
        database: Its store.
        broken: Grows by what is broken.
    """

    def __init__(self, world: World, database: Database, broken: list[str]) -> None:
        self._world = world
        self._sql = database._writing.raw_connection().driver_connection
        self._ended: dict[str, tuple[Any, ...]] = {}
        self._revisions: dict[str, int] = {}
        self._sequences: dict[str, int] = {}
        self._position = 0
        self.broken = broken
        self.commits = 0
        self.sends = 0

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._sql.execute(statement, values).fetchall()  # type: ignore[union-attr]  # it is open
        return found

    def broke(self, life: Life | None, what: object) -> None:
        """Remember that an invariant is broken; the run ends at the next look."""
        text = f"{life.name}: {what}" if life is not None else str(what)
        self._world.say(f"!!! {text}")
        self.broken.append(text)

    # --- while it runs ---------------------------------------------------------------------------------------------

    def acknowledged(self, message: Message) -> None:
        """What is acknowledged is stored."""
        if not self._rows("SELECT 1 FROM changes WHERE request_id = ?", message.request_id):
            self.broke(None, f"request {message.request_id} was acknowledged and is not stored")

    def sent(self, life: Life, raw: str) -> None:
        """What is sent is stored before, and is the lane's newest attempt unless the sender lost the lane."""
        self.sends += 1
        found = self._rows(
            "SELECT a.status, l.holder FROM attempts a JOIN changes c USING (change_id) "
            "JOIN lanes l USING (privacy_group_id) WHERE a.raw = ?",
            bytes.fromhex(raw.removeprefix("0x")),
        )
        if not found:
            self.broke(life, "sends bytes that are not stored")
        elif all(status == "void" for status, _ in found) and found[0][1] == life.name.partition(".")[0]:
            self.broke(life, "sends an attempt that it has given up")
        self._check_rivals(life, raw)

    def _check_rivals(self, life: Life, raw: str) -> None:
        """Nothing else of ours waits in the pool that could execute besides: reorganisations put such things there."""
        if self._world.reorganises or self._world.weather.foreign:
            return
        network = self._world.emulation.network
        node = next((node for node in network.nodes if node.enclave.up), None)
        sent = decode_private_transaction(raw)
        group = sent.transaction.privacy_group_id or ""
        for waiting in network.pool.pending() if node is not None else ():
            payload = network.enclaves.receive(node.enclave, waiting.payload_key) if node is not None else None
            if not isinstance(payload, TransactionPayload) or payload.signed.transaction.privacy_group_id != group:
                continue
            if waiting.history_key is not None:
                # The node that sent it and the new member would fall back to its history (PrivacyBlockProcessor).
                self.broke(life, "sends something while an addition of the group waits in the pool")
            rival = payload.signed.transaction.private_nonce
            used = self._private_nonce(group, sent.sender)
            if rival != sent.transaction.private_nonce and rival >= used:
                self.broke(life, f"sends private nonce {sent.transaction.private_nonce} while {rival} may execute")

    def _private_nonce(self, group: str, account: str) -> int:
        api = self._world.emulation.apis[0]
        return int(api.call("priv_getTransactionCount", [account, group]), 16)

    def held(self) -> dict[str, tuple[str, int]]:
        """Return who holds which lane until when."""
        rows = self._rows("SELECT privacy_group_id, holder, lease_until FROM lanes WHERE holder IS NOT NULL")
        return {group: (holder, lease_until) for group, holder, lease_until in rows}

    def done(self, life: Life, name: str, unit: Any, held: dict[str, tuple[str, int]]) -> None:
        """Look at a unit of work that was committed.

        Args:
            life: Whose it is.
            name: Of the unit of work.
            unit: The unit of work.
            held: Who held which lane until when, before it.
        """
        holds = self.held()
        if name == "claim":
            for group, (holder, _) in holds.items():
                earlier, lease_until = held.get(group, (holder, 0))
                if earlier != holder and lease_until > unit.keywords["now"]:
                    self.broke(life, f"claims the lane of {group}, which {earlier} holds")
        if isinstance(unit, Step):
            lane = unit.lane
            ((token,),) = self._rows("SELECT token FROM lanes WHERE privacy_group_id = ?", lane.privacy_group_id)
            holder, _ = holds.get(lane.privacy_group_id, ("nobody", 0))
            if token != lane.token or holder != life.name.partition(".")[0]:
                self.broke(life, f"commits a step with token {lane.token}; {holder} has token {token}")

    def committed(self, life: Life) -> None:
        """Look at the store after a commit."""
        self.commits += 1
        for change_id, request_id, state, revision, reason in self._rows(
            "SELECT change_id, request_id, state, revision, reason FROM changes"
        ):
            ended = self._ended.get(change_id)
            if ended is not None and ended != (state, revision):
                self.broke(life, f"request {request_id} was {ended}, now it is {(state, revision)}")
            if state in ENDED_STATES:
                self._ended[change_id] = (state, revision)
            if revision < self._revisions.get(change_id, 0):
                self.broke(life, f"request {request_id} went back to revision {revision}")
            if self._world.trace and revision > self._revisions.get(change_id, -1):
                why = json.loads(reason)["slug"] if reason else ""
                self._world.say(f"    {request_id} {state} revision {revision} {why}")
            self._revisions[change_id] = revision
        self._check_events(life)
        self._check_attempts(life)

    def _check_events(self, life: Life) -> None:
        for position, group, sequence in self._rows(
            "SELECT position, privacy_group_id, sequence FROM outbox WHERE position > ? ORDER BY position",
            self._position,
        ):
            self._position = position
            if sequence != self._sequences.get(group, 0) + 1:
                self.broke(life, f"event {sequence} of {group} follows {self._sequences.get(group, 0)}")
            self._sequences[group] = sequence

    def _check_attempts(self, life: Life) -> None:
        for group, lowest, highest in self._rows(
            "SELECT c.privacy_group_id, MIN(a.private_nonce), MAX(a.private_nonce) FROM attempts a "
            "JOIN changes c USING (change_id) WHERE a.status IN ('signed', 'sent') GROUP BY 1"
        ):
            if lowest != highest:
                self.broke(life, f"two attempts in {group} can both execute: private nonces {lowest}, {highest}")

    # --- at the end ------------------------------------------------------------------------------------------------

    def at_rest(self) -> bool:
        """Whether no change can do anything more by itself."""
        if self._world.weather.relay and self._rows("SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"):
            return False
        states = self._rows("SELECT DISTINCT state FROM changes")
        return all(state in RESTING_FOR_GOOD for (state,) in states)

    def states(self) -> list[tuple[Any, ...]]:
        """Return each change's state."""
        return self._rows("SELECT state FROM changes")

    def change_ids(self) -> list[tuple[Any, ...]]:
        """Return each change's id, oldest first."""
        return self._rows("SELECT change_id FROM changes ORDER BY position")

    def unfinished(self) -> str:
        """Return what does not rest, for a message."""
        rows = self._rows("SELECT request_id, state, revision, failures, reason, not_before FROM changes")
        return "; ".join(str(row) for row in rows if row[1] not in RESTING_FOR_GOOD)

    def finally_hold(self, queue: MessageQueue, owner: OwnerClient, groups: tuple[str, ...]) -> None:
        """Look at everything once it is at rest."""
        for message in queue.messages:
            stored = self._rows("SELECT state FROM changes WHERE request_id = ?", message.request_id)
            if message.buried is None and len(stored) != 1:
                self.broke(None, f"request {message.request_id} ended as {len(stored)} changes")
            if message.buried is not None and message.expected:
                self.broke(None, f"request {message.request_id} was buried: {message.buried}")
        attempts = {
            bytes(raw): (change_id, action, json.loads(members))
            for raw, change_id, action, members in self._rows("SELECT raw, change_id, action, members FROM attempts")
        }
        done: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for group in groups:
            for record in self._executed(group):
                ours = attempts.get(record.signed.raw)
                if ours is not None:
                    done.setdefault(ours[0], []).append((ours[1], tuple(ours[2])))
                elif record.signed.raw not in owner.raws:
                    self.broke(None, f"a transaction executed in {group} that nobody has stored")
            self._check_lock(group, attempts)
            self._check_together(group)
        self._check_changes(done)
        self._check_last_events()
        if self._world.weather.relay:
            self._check_published(queue)

    def _executed(self, group: str) -> tuple[ExecutedTransaction, ...]:
        known = self._timeline(group)
        return tuple(known.records) if known is not None else ()

    def _timeline(self, group: str) -> GroupTimeline | None:
        """The longest history of a group: that of a node that is its member still."""
        nodes = self._world.emulation.network.nodes
        found = [node.timelines[_group_bytes(group)] for node in nodes if _group_bytes(group) in node.timelines]
        return max(found, key=lambda timeline: len(timeline.records), default=None)

    def last_lock(self, group: str) -> bytes | None:
        """Return the bytes of the transaction that locked a group; None when it is not locked."""
        records = self._executed(group)
        if not records or records[-1].state.contract.can_execute:
            return None
        locks = [record.signed.raw for record in records if record.signed.transaction.data == LOCK]
        return locks[-1] if locks else None

    def _check_together(self, group: str) -> None:
        """All members' nodes have the same state; only a reorganisation may part them, which nobody can undo."""
        timeline = self._timeline(group)
        if timeline is None or self._world.reorganises or self._world.weather.foreign:
            return
        last = timeline.records[-1].state
        for node in self._world.emulation.network.nodes:
            known = node.timelines.get(_group_bytes(group))
            state = known.state_at(node.head.number) if known is not None else None
            if node.key in last.contract.participants and (state is None or state.root != last.root):
                self.broke(None, f"node {node.number} has another state of {group} than the other members")

    def _check_lock(self, group: str, attempts: dict[bytes, Any]) -> None:
        if self.last_lock(group) in attempts:
            self.broke(None, f"group {group} is left locked by us")

    def _check_changes(self, done: dict[str, list[tuple[str, tuple[str, ...]]]]) -> None:
        meddled = self._world.weather.foreign
        touched = {
            change_id: {(action, key) for action, keys in actions for key in keys}
            for change_id, actions in done.items()
        }
        for change_id, request_id, kind, group, state, members, effect in self._rows(
            "SELECT change_id, request_id, kind, privacy_group_id, state, members, effect FROM changes"
        ):
            actions = done.get(change_id, [])
            effective = [(action, key) for action, keys in actions for key in keys if action != "lock"]
            by_others = {pair for other, pairs in touched.items() if other != change_id for pair in pairs}
            doubled = sorted(
                {
                    (action, key)
                    for action, key in effective
                    if effective.count((action, key)) > 1 and (_UNDONE_BY.get(action), key) not in by_others
                }
            )
            if doubled and not meddled:
                self.broke(None, f"request {request_id} did {doubled} more than once")
            if state in ("failed", "cancelled") and kind != "set_members" and effective:
                self.broke(None, f"request {request_id} is {state}, yet it did {effective}")
            if state == "succeeded":
                self._check_effect(request_id, kind, group, json.loads(members), json.loads(effect))

    def _check_effect(self, request_id: str, kind: str, group: str, members: list[str], effect: Any) -> None:
        number, block_hash = effect["block_number"], effect["block_hash"]
        api = self._world.emulation.apis[0]
        block = api.call("eth_getBlockByNumber", [hex(number), False])
        if block is None or block["hash"] != block_hash:
            self.broke(None, f"the block of {request_id}'s effect, {number}, is not on the chain")
            return
        longest = self._timeline(group)
        timelines = [longest] if longest is not None else []
        if self._world.reorganises or self._world.weather.foreign:
            # Members may have parted since, with none of them to blame: one of them must show it.
            nodes = self._world.emulation.network.nodes
            timelines = [node.timelines[_group_bytes(group)] for node in nodes if _group_bytes(group) in node.timelines]
        if not any(_fits(kind, set(members), timeline.state_at(number)) for timeline in timelines):
            self.broke(None, f"request {request_id} succeeded, yet at block {number} no member shows it")

    def _check_published(self, queue: MessageQueue) -> None:
        """Every event is published; again perhaps, but for the first time in order."""
        for group, last in self._sequences.items():
            first_times = list(dict.fromkeys(queue.published.get(group or "requests", [])))
            if first_times != list(range(1, last + 1)):
                self.broke(None, f"events 1 to {last} of {group} were published as {first_times}")

    def _check_last_events(self) -> None:
        for request_id, state, event in self._rows(
            "SELECT c.request_id, c.state, o.type FROM changes c JOIN outbox o ON o.position = "
            "(SELECT MAX(position) FROM outbox WHERE change_id = c.change_id AND type LIKE 'membership.change.%')"
        ):
            if event != f"membership.change.{state}.v1":
                self.broke(None, f"request {request_id} is {state}, its last event is {event}")


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


def _group_bytes(group: str) -> bytes:
    return base64.b64decode(group)
