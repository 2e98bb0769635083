"""Who asks for changes: for each group one after the other, over the queue; and what the store says of them."""

import asyncio
import base64
import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import sqlalchemy as sa

from orchestrator.broker.port import Broker
from orchestrator.devnet import Devnet
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.membership.model import RESTING, State
from tests.integration.faults import chain_truth as truth
from tests.integration.harm.returns import Return, find_return

LOOK_SECONDS = 0.5
RESTING_FOR_GOOD = frozenset(state.value for state in RESTING - {State.QUEUED})


@dataclass(slots=True)
class Group:
    """One group and what was asked for.

    Attributes:
        privacy_group_id: base64.
        asked: (request id, kind) of each request that the queue has taken, oldest first.
    """

    privacy_group_id: str
    asked: list[tuple[str, str]] = field(default_factory=list)


class Ledger:
    """The changes as the store has them, read again and again from outside.

    Args:
        engine: The store.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.states: dict[str, str] = {}

    async def run(self) -> None:
        """Read until cancelled; the store may be away."""
        while True:
            await asyncio.to_thread(self.read)
            await asyncio.sleep(LOOK_SECONDS)

    def read(self) -> bool:
        """Read once; returns whether the store answered."""
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(sa.text("SELECT request_id, state FROM changes"))
                self.states = {row.request_id: row.state for row in rows}
        except sa.exc.DBAPIError:
            return False
        return True

    def rests(self, request_id: str) -> bool:
        """Whether a request's change does nothing more by itself."""
        return self.states.get(request_id) in RESTING_FOR_GOOD

    def counts(self) -> Counter[str]:
        """Return how many changes are in each state."""
        return Counter(self.states.values())


class Requester:
    """Asks for changes.

    Attributes:
        stopping: Set when nothing more is to be asked for.
        parted: Requests that were parked because a reorganisation really left the new member with another state.
        returns: For each request that was parked, what the member's node has of the group.

    Args:
        broker: The queue.
        ledger: Tells when a change rests.
        devnet: Tells whether a member that is reported to have another state really has.
        chance: Draws pauses, repetitions and groups.
        groups: Where groups are put that take the place of others.
    """

    def __init__(self, broker: Broker, ledger: Ledger, devnet: Devnet, chance: Random, groups: list[Group]) -> None:
        self._devnet = devnet
        self._broker = broker
        self._ledger = ledger
        self._keys = [node.enclave_key for node in devnet.nodes]
        self.parted: set[str] = set()
        self.returns: dict[str, Return] = {}
        self._groups = groups
        self._chance = chance
        self.stopping = asyncio.Event()

    async def run(self, group: Group) -> None:
        """Create a group, then add and remove a member in turn, until `stopping` is set.

        A group that its member may not return to is left, and another one takes its place: nothing more could be added.
        """
        await asyncio.sleep(self._chance.uniform(0, 5))
        while not self.stopping.is_set():
            number = len(group.asked)
            kind = "create_group" if number == 0 else ("remove_members", "add_members")[number % 2]
            request_id = f"{group.privacy_group_id[:6]}-{number}"
            await self._ask(request_id, kind, group.privacy_group_id)
            group.asked.append((request_id, kind))
            while not self._ledger.rests(request_id):
                if self.stopping.is_set():
                    return
                await asyncio.sleep(LOOK_SECONDS)
            if self._ledger.states[request_id] == State.PARKED:
                await self._look(request_id, group.privacy_group_id)
                if request_id in self.returns and self.returns[request_id].astray:
                    group = Group(base64.b64encode(self._chance.randbytes(32)).decode())
                    self._groups.append(group)
            await asyncio.sleep(self._chance.uniform(0, 2))

    async def _look(self, request_id: str, group: str) -> None:
        """Find out whether a parked change was parked for what really is; the next request is then its remedy."""
        while not self.stopping.is_set() and not truth.is_level(self._devnet):  # noqa: ASYNC110 - nodes tell nobody
            await asyncio.sleep(LOOK_SECONDS)
        if truth.has_parted(self._devnet, group):
            self.parted.add(request_id)
        elif (found := find_return(self._devnet, group, len(self._keys))) is not None:
            self.returns[request_id] = found

    async def _ask(self, request_id: str, kind: str, group: str) -> None:
        members = self._keys[:2] if kind == "create_group" else self._keys[2:]
        data = {"kind": kind, "privacy_group_id": group, "members": members}
        event = {"specversion": "1.0", "type": "membership.change.requested.v1", "source": "/soak", "id": request_id}
        # Now and then twice, in another layout, so that the queue does not know it for the same message.
        for indent in (None, 1) if self._chance.random() < 0.3 else (None,):
            body = json.dumps({**event, "data": data}, indent=indent).encode()
            while not await self._sent(body):  # noqa: ASYNC110 - a queue that is away tells nobody
                await asyncio.sleep(LOOK_SECONDS)

    async def _sent(self, body: bytes) -> bool:
        try:
            await self._broker.request(body)
        except BrokerError:
            return False
        return True
