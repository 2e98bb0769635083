"""The invariants of the store, checked after every commit, and the way to those of the chain (`ledger`)."""

import json
from typing import Any

from orchestrator.membership.model import ENDED, RESTING, State
from orchestrator.store.commits.database import Database
from orchestrator.store.units.steps import Step
from tests.simulation.ledger import Ledger
from tests.simulation.messages import Message
from tests.simulation.world import Life, World

ENDED_STATES = frozenset(state.value for state in ENDED)
RESTING_FOR_GOOD = frozenset(state.value for state in RESTING - {State.QUEUED})


class Checks:
    """Looks at the store and the chain from outside, past the code under test.

    Args:
        world: The simulation.
        database: Its store.
        broken: Grows by what is broken.

    Attributes:
        ledger: What was broadcast and mined.
        overtaken: Groups of which a change was parked, so that others passed it.
    """

    def __init__(self, world: World, database: Database, broken: list[str]) -> None:
        self._world = world
        self._sql = database._writing.raw_connection().driver_connection
        self._ended: dict[str, tuple[Any, ...]] = {}
        self._revisions: dict[str, int] = {}
        self._states: dict[str, str] = {}
        self._sequences: dict[str, int] = {}
        self._position = 0
        self.broken = broken
        self.commits = 0
        self.sends = 0
        self.overtaken: set[str] = set()
        self.ledger = Ledger(world, self)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what the store holds."""
        found: list[tuple[Any, ...]] = self._sql.execute(statement, values).fetchall()  # type: ignore[union-attr]  # set where the file is opened
        return found

    def broke(self, life: Life | None, what: object) -> None:
        """Remember that an invariant is broken; the run ends at the next look."""
        text = f"{life.name}: {what}" if life is not None else str(what)
        self._world.say(f"!!! {text}")
        self.broken.append(text)

    # --- while it runs ---------------------------------------------------------------------------------------------

    def acknowledged(self, message: Message) -> None:
        """What is acknowledged is stored."""
        if not self.rows("SELECT 1 FROM changes WHERE request_id = ?", message.request_id):
            self.broke(None, f"request {message.request_id} was acknowledged and is not stored")

    def leaves(self, life: Life, method: str, raw: str) -> None:
        """Nothing leaves a replica for a group whose lane another one has taken over, also when it stood still."""
        if self._world.clocks_jump:
            return  # a lease is as long as the clocks say
        group = self.ledger.group_of(raw, public=method == "eth_sendRawTransaction")
        holder, _ = self.held().get(group, (life.name, 0))
        if holder.partition(".")[0] != life.name.partition(".")[0]:
            self.broke(life, f"sends for {group}, whose lane {holder} holds")

    def sent(self, life: Life, method: str, raw: str) -> None:
        """What is sent can be taken back, and what is broadcast is stored before."""
        self.sends += 1
        if method == "eth_sendRawTransaction":
            self.ledger.broadcast(life, raw)
        elif method == "eea_sendRawTransaction":
            self.ledger.sent_by_node(life, raw)

    def held(self) -> dict[str, tuple[str, int]]:
        """Return who holds which lane until when."""
        rows = self.rows("SELECT privacy_group_id, holder, lease_until FROM lanes WHERE holder IS NOT NULL")
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
            ((token,),) = self.rows("SELECT token FROM lanes WHERE privacy_group_id = ?", lane.privacy_group_id)
            holder, _ = holds.get(lane.privacy_group_id, ("nobody", 0))
            if token != lane.token or holder != life.name.partition(".")[0]:
                self.broke(life, f"commits a step with token {lane.token}; {holder} has token {token}")

    def committed(self, life: Life) -> None:
        """Look at the store after a commit."""
        self.commits += 1
        waiting: dict[str, set[str | None]] = {}
        for change_id, request_id, kind, group, state, lead_id, revision, reason in self.rows(
            "SELECT change_id, request_id, kind, privacy_group_id, state, lead_id, revision, reason FROM changes "
            "ORDER BY position"
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
            if state == "parked":
                self.overtaken.add(group)
            elif state not in ENDED_STATES:
                before = waiting.setdefault(group, set())
                begins = state == "preflight" and self._states.get(change_id) == "queued"
                if begins and kind != "unlock_group" and before - {lead_id}:  # an unlock goes first
                    self._passes(life, request_id, group)
                before.add(lead_id)
            self._states[change_id] = state
        self._check_events(life)
        self._check_attempts(life)

    def _passes(self, life: Life, request_id: str, group: str) -> None:
        """A change begins while one that was accepted before it is not done: only a person may have let it pass."""
        if group not in self.overtaken:
            self.broke(life, f"request {request_id} overtakes one that was accepted before it")

    def _check_events(self, life: Life) -> None:
        for position, group, sequence in self.rows(
            "SELECT position, privacy_group_id, sequence FROM outbox WHERE position > ? ORDER BY position",
            self._position,
        ):
            self._position = position
            if sequence != self._sequences.get(group, 0) + 1:
                self.broke(life, f"event {sequence} of {group} follows {self._sequences.get(group, 0)}")
            self._sequences[group] = sequence

    def _check_attempts(self, life: Life) -> None:
        for group, lowest, highest in self.rows(
            "SELECT c.privacy_group_id, MIN(a.private_nonce), MAX(a.private_nonce) FROM attempts a "
            "JOIN changes c USING (change_id) WHERE a.status IN ('signed', 'sent') GROUP BY 1"
        ):
            if lowest != highest:
                self.broke(life, f"two attempts in {group} can both execute: private nonces {lowest}, {highest}")

    # --- when it rests ---------------------------------------------------------------------------------------------

    @property
    def sequences(self) -> dict[str, int]:
        """The newest event of each group."""
        return self._sequences

    def at_rest(self) -> bool:
        """Whether no change can do anything more by itself."""
        if self._world.profile.relay and self.rows("SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"):
            return False
        states = self.rows("SELECT DISTINCT state FROM changes")
        return all(state in RESTING_FOR_GOOD for (state,) in states)

    def states(self) -> list[tuple[Any, ...]]:
        """Return each change's state."""
        return self.rows("SELECT state FROM changes")

    def change_ids(self) -> list[tuple[Any, ...]]:
        """Return each change's id, oldest first."""
        return self.rows("SELECT change_id FROM changes ORDER BY position")

    def unfinished(self) -> str:
        """Return what does not rest, for a message."""
        rows = self.rows("SELECT request_id, state, revision, failures, reason, not_before FROM changes")
        return "; ".join(str(row) for row in rows if row[1] not in RESTING_FOR_GOOD)
