"""How much is measured."""

from dataclasses import dataclass, field

from tests.integration.harm.load import Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes of one run.

    Attributes:
        groups_at_once: Groups that an addition each is asked for at the same time; the bounds are for a hundred.
        rounds: How often the round of a hundred is repeated.
        client_groups: Groups in the comparison with the client library.
        sequential_groups: Of them, how many its sequential use does; the rest is reckoned from those.
        client_rounds: How often the comparison is repeated, at other moments of a block.
        members: Sizes of the groups after the addition, in the comparison of sizes.
        client_sizes: Numbers of groups in the comparison of sizes.
        requests: Requests that pour in at once.
        jobs: Jobs in the comparison with other job engines.
        waiting: Queue lengths at a restart.
        deaths: Which kinds of change die at every point.
        takeovers: How often a replica is killed, and how often one is stopped, while another one is there.
        flood: Requests of one sender, beside which another one's is measured.
        loop_groups: Groups at once while the event loop is watched.
        harm: What goes on while it is looked who does harm.
        additions: Hostile and honest additions to a guarded node, each.
        imports: Blocks that a node imports with and without a guard, each.
        counted_changes: Changes of each kind at once whose calls are counted.
        pooled_additions: Additions at once through the marker accounts.
        marker_accounts: How many of these there are.
        access_changes: Changes of a round with, and of one without access control.
        access_reads: Reads of such a round.
        replicas: How many daemons are measured against one.
        shared_groups: Groups that are created and extended by them at once.
        idle_seconds: For how long it is counted what idle ones ask for.
        settle_seconds: How long a restarted daemon is left to itself before its memory is read.
    """

    groups_at_once: tuple[int, ...] = (10, 100, 1000)
    rounds: int = 3
    client_groups: int = 20
    sequential_groups: int = 20
    client_rounds: int = 10
    members: tuple[int, ...] = (3, 6)
    client_sizes: tuple[int, ...] = (1, 5, 20, 50)
    requests: int = 5000
    jobs: int = 5000
    waiting: tuple[int, ...] = (1_000, 10_000, 100_000)
    deaths: tuple[str, ...] = ("create_group", "add_members", "remove_members")
    takeovers: int = 20
    flood: int = 2000
    loop_groups: int = 100
    harm: Load = field(default_factory=lambda: Load(groups=100, rounds=5))
    additions: int = 200
    imports: int = 200
    counted_changes: int = 20
    pooled_additions: int = 100
    marker_accounts: int = 10
    access_changes: int = 200
    access_reads: int = 1000
    replicas: int = 3
    shared_groups: int = 90
    idle_seconds: float = 60.0
    settle_seconds: float = 10.0


FULL = Scale()
QUICK = Scale(
    groups_at_once=(10, 100),
    rounds=1,
    sequential_groups=2,
    client_rounds=2,
    members=(3,),
    client_sizes=(),
    requests=1000,
    jobs=500,
    waiting=(10_000,),
    deaths=(),
    takeovers=2,
    flood=200,
    loop_groups=30,
    harm=Load(groups=20, rounds=3, pair_blocks=8),
    additions=22,
    imports=50,
    pooled_additions=20,
    marker_accounts=4,
    access_changes=40,
    access_reads=500,
    shared_groups=30,
    idle_seconds=20.0,
    settle_seconds=3.0,
)
