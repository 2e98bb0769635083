"""What goes wrong in one simulation: drawn from its seed, so that every seed has faults of its own kinds and rates.

Each kind is switched off in some seeds: where everything fails all the time, nothing gets far enough for the rare
mistakes to show (swarm testing).
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random


class Family(StrEnum):
    """What kind of seeds they are."""

    STORMS = "storms"
    """Everything fails: crashes, lost answers, reorganisations, other clients."""
    REPLAYS = "replays"
    """Little fails, but groups share their members' nodes and are written to, so that replays can do harm."""
    WINDOWS = "windows"
    """Little fails, but the daemon's locks last: markers stay in pools while persons give changes up."""
    PAUSES = "pauses"
    """Little fails, but replicas stand still, again and again, for longer than a lease, and wake up."""
    MIXED = "mixed"
    """Of every five seeds the last is one of replays, the others are storms."""

    def of(self, seed: int) -> "Family":
        """Return which kind a seed is."""
        if self is not Family.MIXED:
            return self
        return Family.REPLAYS if seed % 5 == 0 else Family.STORMS


class Pace(StrEnum):
    """How an application writes to a group."""

    NEVER = "never"
    EVERY_BLOCK = "every block"
    AT_RANDOM = "at random"
    PAUSING = "pausing"
    """Never in two blocks that follow each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultProfile:
    """One seed's circumstances.

    Attributes:
        replicas: How many run on the one store.
        nodes: How many members' nodes there are.
        groups: How many groups are asked for changes.
        requests: How many changes are asked for.
        block_seconds: Between blocks.
        confirmations: How deep an effect must be; reorganisations go no deeper.
        replay_ms: What a replay takes for each transaction.
        addition_ms: What sending an addition to a group with a history takes a node.
        public_traffic: Whether accounts are twice in a block: other people's, and nodes' fixed marker keys.
        writes: Whether an application writes to all groups.
        shared: Whether each group is another node's, and members come, leave and return everywhere.
        paces: By group, how the application writes to it, where groups share nodes.
        losses: Whether additions get lost by what another client does to new members' nodes; then repairs are on.
        besu_version: Of all nodes.
        validators: How many of the nodes make blocks.
        gossip_ms: What a public transaction takes from one pool to another.
        storm_seconds: How long faults are made; then everything is mended.
        pause_seconds: The mean pause between two faults that are made at a time of their own.
        crash: Probability that a replica dies at one of its calls or commits.
        freeze: Probability that a replica stands still for a while at one of them.
        lost_request, lost_answer, late_request, refusal: Probabilities for one call of a node.
        late_replica: Probability that a call is answered by a replica of the node that lags by some blocks.
        late_receipts: By node, how many seconds after a block its private receipts are null still.
        away: Probability that a member's node is down when a change is asked for.
        store_refusal, store_lost_answer, store_late: Probabilities for one unit of work.
        lost_ack, duplicate, late_message: Probabilities for one message of the queue.
        lost_event: Probability that publishing a status event fails, before or after it is kept.
        relay: Whether status events are published.
        timed: Faults that are made at times of their own; see `scenario`.
        busy: Whether changes of all kinds are asked for at once, of one group.
        foreign: Whether another client of the owner account is at work.
        operator: Whether a person cancels, parks and retries.
    """

    replicas: int
    nodes: int
    groups: int
    requests: int
    block_seconds: float
    confirmations: int
    replay_ms: float
    addition_ms: float
    public_traffic: bool
    writes: bool
    shared: bool
    paces: tuple[Pace, ...]
    losses: bool
    besu_version: str
    validators: int
    gossip_ms: float
    storm_seconds: float
    pause_seconds: float
    crash: float
    freeze: float
    lost_request: float
    lost_answer: float
    late_request: float
    refusal: float
    late_replica: float
    late_receipts: tuple[float, ...]
    away: float
    store_refusal: float
    store_lost_answer: float
    store_late: float
    lost_ack: float
    duplicate: float
    late_message: float
    lost_event: float
    relay: bool
    timed: tuple[str, ...]
    busy: bool
    foreign: bool
    operator: bool


VERSIONS = ("23.10.3", "23.10.3", "23.10.3", "22.4.4", "25.4.1", "21.1.7")
"""They differ in how an unlock is done, which of two transactions a pool keeps, and what it offers for a block."""

PUBLIC_TRAFFIC = 0.25
"""Share of the seeds in which accounts are twice in a block: it can't be replayed, and halts whoever has to
(docs/besu.md#what-a-replay-needs)."""

LOSSES = 0.15
"""Share of the seeds of replays in which additions get lost, and are repaired."""

TIMED = (
    "node_down",
    "enclave_down",
    "sockets_cut",
    "pool_lost",
    "congestion",
    "gridlock",
    "pool_cut",
    "blocks_cut",
    "isolated",
    "reorganisation",
    "clock_jump",
    "orderly_stop",
    "store_down",
)
"""Faults that last or happen at a time of their own."""


def calm(nodes: int) -> FaultProfile:
    """Return circumstances in which nothing fails and nobody else acts: one replica on nodes that all make blocks.

    Args:
        nodes: How many there are.
    """
    return FaultProfile(
        replicas=1,
        nodes=nodes,
        groups=1,
        requests=1,
        block_seconds=1.0,
        confirmations=0,
        replay_ms=0.0,
        addition_ms=0.0,
        public_traffic=False,
        writes=False,
        shared=False,
        paces=(),
        losses=False,
        besu_version="23.10.3",
        validators=nodes,
        gossip_ms=0.0,
        storm_seconds=0.0,
        pause_seconds=1.0,
        crash=0.0,
        freeze=0.0,
        lost_request=0.0,
        lost_answer=0.0,
        late_request=0.0,
        refusal=0.0,
        late_replica=0.0,
        late_receipts=(0.0,) * nodes,
        away=0.0,
        store_refusal=0.0,
        store_lost_answer=0.0,
        store_late=0.0,
        lost_ack=0.0,
        duplicate=0.0,
        late_message=0.0,
        lost_event=0.0,
        relay=False,
        timed=(),
        busy=False,
        foreign=False,
        operator=False,
    )


def draw(chance: Random, family: Family) -> FaultProfile:
    """Draw one seed's circumstances.

    Args:
        chance: The seed's.
        family: Any but `Family.MIXED`.
    """
    profile = _storm(chance)
    match family:
        case Family.REPLAYS:
            return _replays(chance, profile)
        case Family.WINDOWS:
            return _windows(chance, profile)
        case Family.PAUSES:
            return _pauses(chance, profile)
        case _:
            return profile


def _answering(profile: FaultProfile, nodes: int) -> FaultProfile:
    """Return circumstances in which calls of nodes and units of the store arrive, are answered, and at once."""
    return replace(
        profile,
        lost_request=0.0,
        late_request=0.0,
        refusal=0.0,
        late_replica=0.0,
        late_receipts=(0.0,) * nodes,
        store_refusal=0.0,
        store_lost_answer=0.0,
        store_late=0.0,
    )


def _replays(chance: Random, profile: FaultProfile) -> FaultProfile:
    """Draw circumstances in which a replay can do harm, and in which little else happens."""
    losses, public_traffic = chance.random() < LOSSES, chance.random() < PUBLIC_TRAFFIC
    groups, nodes = (1 if losses else chance.choice((2, 3, 3))), chance.choice((3, 4, 4))
    quiet = losses or public_traffic
    return replace(
        _answering(profile, nodes),
        replicas=chance.choice((1, 1, 2)),
        nodes=nodes,
        validators=nodes,
        groups=groups,
        requests=chance.randint(6, 9),
        block_seconds=1.0,
        confirmations=chance.choice((0, 0, 2)),
        replay_ms=chance.choice((0.0, 20.0)),
        addition_ms=0.0,
        gossip_ms=0.0,
        public_traffic=public_traffic and not losses,
        writes=not quiet,
        shared=True,
        paces=tuple(
            Pace.NEVER if quiet else chance.choice((Pace.EVERY_BLOCK, Pace.AT_RANDOM, Pace.AT_RANDOM, Pace.PAUSING))
            for _ in range(groups)
        ),
        losses=losses,
        besu_version=chance.choice(("23.10.3", "23.10.3", "22.4.4")),
        storm_seconds=60.0,
        crash=chance.choice((0.0, 0.0, 0.002)),
        freeze=0.0,
        lost_answer=chance.choice((0.0, 0.01)),
        away=chance.choice((0.0, 0.0, 0.2)),
        timed=(),
        busy=False,
        foreign=False,
        operator=False,
    )


def _windows(chance: Random, profile: FaultProfile) -> FaultProfile:
    """Draw circumstances in which locks last, and in which little else happens."""
    nodes = chance.choice((3, 4))
    return replace(
        _answering(profile, nodes),
        nodes=nodes,
        validators=nodes,
        groups=chance.choice((1, 2)),
        requests=chance.randint(4, 6),
        block_seconds=1.0,
        confirmations=chance.choice((0, 0, 2)),
        replay_ms=0.0,
        addition_ms=0.0,
        gossip_ms=0.0,
        public_traffic=False,
        besu_version="23.10.3",
        storm_seconds=120.0,
        pause_seconds=3.0,
        freeze=0.0,
        lost_answer=0.0,
        away=0.0,
        timed=("gridlock",),
        foreign=False,
        operator=True,
    )


def _pauses(chance: Random, profile: FaultProfile) -> FaultProfile:
    """Draw circumstances in which replicas stand still, and in which little else happens."""
    return replace(
        _answering(profile, profile.nodes),
        replicas=chance.choice((2, 2, 3)),
        groups=chance.choice((1, 2, 3)),
        requests=chance.randint(4, 8),
        block_seconds=chance.choice((1.0, 2.0)),
        replay_ms=0.0,
        addition_ms=0.0,
        public_traffic=False,
        storm_seconds=chance.choice((90.0, 180.0)),
        crash=chance.choice((0.0, 0.0, 0.002)),
        freeze=chance.choice((0.005, 0.01, 0.02)),
        lost_answer=chance.choice((0.0, 0.01)),
        timed=(),
        busy=chance.random() < 0.5,
        foreign=False,
        operator=False,
    )


def _storm(chance: Random) -> FaultProfile:
    """Draw what fails."""

    def some(highest: float) -> float:
        return chance.choice((0.0, highest / 5, highest)) if chance.random() < 0.6 else 0.0

    nodes, public_traffic = chance.choice((2, 3, 3, 4)), chance.random() < PUBLIC_TRAFFIC
    return FaultProfile(
        replicas=chance.choice((1, 1, 2, 2, 3)),
        nodes=nodes,
        groups=chance.choice((1, 1, 2, 3)),
        requests=chance.randint(2, 6),
        block_seconds=chance.choice((1.0, 2.0, 4.0)),
        confirmations=chance.choice((0, 0, 2, 4)),
        replay_ms=chance.choice((0.0, 20.0, 1500.0)),
        addition_ms=chance.choice((0.0, 200.0, 3000.0)),
        public_traffic=public_traffic,
        writes=chance.random() < 0.25,
        shared=False,
        paces=(),
        losses=False,
        besu_version=chance.choice(VERSIONS),
        validators=nodes if chance.random() < 0.7 else chance.randint(1, nodes),
        gossip_ms=chance.choice((0.0, 0.0, 100.0, 2500.0)),
        storm_seconds=chance.choice((30.0, 60.0, 90.0)),
        pause_seconds=chance.choice((5.0, 10.0, 20.0)),
        crash=some(0.02),
        freeze=some(0.004),
        lost_request=some(0.03),
        lost_answer=some(0.05),
        late_request=some(0.03),
        refusal=some(0.03),
        late_replica=some(0.1),
        late_receipts=tuple(chance.choice((0.0, 0.0, 6.0)) if chance.random() < 0.4 else 0.0 for _ in range(nodes)),
        away=some(0.5),
        store_refusal=some(0.04),
        store_lost_answer=some(0.04),
        store_late=some(0.01),
        lost_ack=some(0.3),
        duplicate=some(0.3),
        late_message=some(0.3),
        lost_event=some(0.1),
        relay=chance.random() < 0.25,
        timed=tuple(kind for kind in TIMED if chance.random() < 0.4),
        busy=chance.random() < 0.25,
        foreign=chance.random() < 0.25 and not public_traffic,  # its additions would halt nodes: it forecasts nothing
        operator=chance.random() < 0.3,
    )
