"""The daemon's own measurements, for ``/metrics``."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator import __version__
from orchestrator.app.signature_metrics import SignatureMetrics
from orchestrator.app.step_metrics import StepMetrics
from orchestrator.besu.transport.http_client import CallCounts
from orchestrator.engine.intake.admission import Admission
from orchestrator.engine.runtime.isolation import contained_failures
from orchestrator.membership.damage.unextendable import WatchTally
from orchestrator.membership.forecast.durations import Quantity
from orchestrator.membership.model import RESTING, Change, Kind, State
from orchestrator.store.database.size import StoreSize

_ERRORS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)

CONTAINED: Final = (
    *("attestation", "attesting", "audit", "backlog", "claim", "decision told", "durations", "embedded message queue"),
    *("chains", "event", "event set aside", "feed", "head", "heads", "inquiry", "intake", "join", "joining", "lane"),
    "lanes without nodes",
    "loop lag",
    *(
        "message of an organisation",
        "neighbours",
        "node socket",
        "readiness",
        "relay",
        "renewal",
        "repair",
        "repairs",
        "replica name",
    ),
    *(
        "archiving",
        "audit archiving",
        "retention",
        "standstill",
        "store size",
        "stuck sessions",
        "surroundings",
        "told event",
        "traces",
        "trigger",
        "unreadable change",
        "vouching",
        "watched block",
        "webhook",
    ),
)
"""What failures are contained of: counted from the start, so that the first one is an increase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReading:
    """What is counted of a node.

    Attributes:
        name: Its name.
        counts: What it was asked.
        head: Its head; None while that is unknown.
        behind: By how many blocks it is behind the newest head that a second node confirms; negative when it is ahead.
        subscribed: Whether its heads come by WebSocket.
        reorganisations: How often its chain was reorganised.
        gaps: How often its heads had to be caught up with, since the WebSocket was away or silent.
    """

    name: str
    counts: CallCounts
    head: int | None
    behind: int = 0
    subscribed: bool
    reorganisations: int = 0
    gaps: int = 0


class Metrics:
    """What is counted while the daemon runs.

    Args:
        running_lanes: Tells how many lanes are driven now.
        nodes: Reads all nodes, when the metrics are asked for.

    Attributes:
        signatures: Counts signatures of accounts.
    """

    def __init__(
        self,
        running_lanes: Callable[[], int],
        nodes: Callable[[], Iterable[NodeReading]],
    ) -> None:
        self.registry = CollectorRegistry()
        self._of_steps = StepMetrics(self.registry)
        self.signatures = SignatureMetrics(self.registry)
        self._ended = Counter(
            "orchestrator_changes_total", "Changes that came to rest.", ["kind", "state"], registry=self.registry
        )
        # From 0 on: a counter that is there only since its first increase shows no increase.
        for kind in Kind:
            for state in RESTING - {State.QUEUED}:
                self._ended.labels(kind.value, state.value)
        self._errors = Histogram(
            "orchestrator_forecast_error_ratio",
            "By which part of what an addition took its forecast was off.",
            ["quantity"],
            buckets=_ERRORS,
            registry=self.registry,
        )
        for quantity in Quantity:
            self._errors.labels(quantity.value)
        lanes = Gauge("orchestrator_lanes", "Lanes that are driven now.", registry=self.registry)
        lanes.set_function(running_lanes)
        self._blocks = Counter(
            "orchestrator_watched_blocks_total", "Blocks that were looked at as they came.", registry=self.registry
        )
        self._twice = Counter(
            "orchestrator_account_twice_blocks_total",
            "Of these, blocks with two transactions of one account: no newcomer can replay them.",
            registry=self.registry,
        )
        self._repeated = Counter(
            "orchestrator_repeated_additions_total", "Old additions that were sent again.", registry=self.registry
        )
        self._unextendable = Gauge(
            "orchestrator_unextendable_groups",
            "Known groups that can't be given to a node that has to replay them.",
            registry=self.registry,
        )
        build = Gauge("orchestrator_build_info", "Always 1; what runs.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        # The library puts it into its own registry alone, which tests and several daemons of one process would share.
        ProcessCollector(registry=self.registry)
        self.registry.register(_Nodes(nodes))
        self.registry.register(_Contained())

    def watch_admission(self, admission: Admission) -> None:
        """Show what is unfinished, and what was turned away."""
        largest = Gauge(
            "orchestrator_largest_source", "Unfinished changes of the source with the most.", registry=self.registry
        )
        largest.set_function(lambda: admission.largest)
        self.registry.register(_TurnedAway(admission))

    def watch_groups(self, diverged: Callable[[], int]) -> None:
        """Show how many groups' members were last seen to differ."""
        differing = Gauge(
            "orchestrator_diverged_groups", "Groups whose members were last seen to differ.", registry=self.registry
        )
        differing.set_function(diverged)

    def watch_loop(self, lag_seconds: Callable[[], float]) -> None:
        """Show how late the event loop is."""
        lag = Gauge(
            "orchestrator_loop_lag_seconds",
            "By how much the event loop was late at the worst in the last minute.",
            registry=self.registry,
        )
        lag.set_function(lag_seconds)

    def watch_shares(self, largest: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Show how lanes are shared out among senders."""
        of_largest = Gauge(
            "orchestrator_largest_source_lanes",
            "Lanes of the source with the most, of those driven now.",
            registry=self.registry,
        )
        of_largest.set_function(largest)
        resting = Gauge(
            "orchestrator_lanes_waiting_for_turn",
            "Lanes that wait for their turn at work; 0 while one source has lanes only.",
            registry=self.registry,
        )
        resting.set_function(waiting)

    def watch_locks(self, driven: Callable[[], Collection[str]]) -> None:
        """Show for how long the oldest lock of ours is held, of the groups that are worked on."""
        held = Gauge(
            "orchestrator_lock_held_seconds",
            "For how long the oldest of our locks was seen held, of lanes driven now; 0 without one.",
            registry=self.registry,
        )
        held.set_function(lambda: self._of_steps.held_seconds(driven()))

    def watch_callers(self, failures: Callable[[], int]) -> None:
        """Show how many times callers over HTTP were not accepted."""
        self.registry.register(_Total("orchestrator_callers_refused", "Tokens that proved nothing.", failures))

    def watch_traces(self, sent: Callable[[], int], dropped: Callable[[], int]) -> None:
        """Show how many spans of traces reached a collector, and how many did not."""
        self.registry.register(_Total("orchestrator_trace_spans_sent", "Spans that a collector took.", sent))
        text = "Spans that no collector got: too many at once, or none that took them."
        self.registry.register(_Total("orchestrator_trace_spans_dropped", text, dropped))

    def watch_neighbours(self, sources: Callable[[], int]) -> None:
        """Show how many other sources publish events where ours go."""
        foreign = Gauge(
            "orchestrator_foreign_sources",
            "Other stores whose events were seen under our names.",
            registry=self.registry,
        )
        foreign.set_function(sources)

    def watch_surroundings(self, working: Callable[[], Mapping[str, bool]], late_seconds: Callable[[], float]) -> None:
        """Show whether store and queue work, and for how long the oldest unpublished status event has waited."""
        late = Gauge(
            "orchestrator_oldest_unpublished_seconds",
            "For how long the oldest unpublished status event has waited; 0 when all are published.",
            registry=self.registry,
        )
        late.set_function(late_seconds)
        self.registry.register(_Surroundings(working))

    def watch_standstills(self, standing: Callable[[], Mapping[str, bool]]) -> None:
        """Show which nodes stand still while others move."""
        self.registry.register(_Standstills(standing))

    def watch_store(self, size: Callable[[], StoreSize | None]) -> None:
        """Show how large the store is, once it was measured."""
        self.registry.register(_Store(size))

    def on_step(self, before: Change, after: Change) -> None:
        """Count a committed step."""
        self._of_steps.on_step(before, after)
        if after.state is not before.state and after.state in RESTING and after.state is not State.QUEUED:
            self._ended.labels(after.kind.value, after.state.value).inc()

    def on_forecast(self, quantity: Quantity, error: float) -> None:
        """Count a forecast that is over, and by which part of the truth it was off."""
        self._errors.labels(quantity.value).observe(error)

    def on_look(self, before: WatchTally, after: WatchTally, unextendable: int) -> None:
        """Count what a look at new blocks found."""
        # The tally is the store's and shared by replicas, or set back by a restore: a counter must never fall.
        self._blocks.inc(max(after.blocks - before.blocks, 0))
        self._twice.inc(max(after.account_twice - before.account_twice, 0))
        self._repeated.inc(max(after.repeated - before.repeated, 0))
        self._unextendable.set(unextendable)


class _TurnedAway(Collector):
    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def collect(self) -> Iterable[Metric]:
        text = "Requests over a bound of admission."
        return (CounterMetricFamily("orchestrator_turned_away", text, value=self._admission.turned_away),)


class _Total(Collector):
    def __init__(self, name: str, text: str, count: Callable[[], int]) -> None:
        self._name = name
        self._text = text
        self._count = count

    def collect(self) -> Iterable[Metric]:
        return (CounterMetricFamily(self._name, self._text, value=self._count()),)


class _Surroundings(Collector):
    def __init__(self, working: Callable[[], Mapping[str, bool]]) -> None:
        self._working = working

    def collect(self) -> Iterable[Metric]:
        found = GaugeMetricFamily(
            "orchestrator_working", "1 while store, broker (requests) and events do what is needed.", labels=["what"]
        )
        for what, works in sorted(self._working().items()):
            found.add_metric([what], 1.0 if works else 0.0)
        return (found,)


class _Standstills(Collector):
    def __init__(self, standing: Callable[[], Mapping[str, bool]]) -> None:
        self._standing = standing

    def collect(self) -> Iterable[Metric]:
        text = "1 while the node imports no blocks and others do."
        found = GaugeMetricFamily("orchestrator_node_standing_still", text, labels=["node"])
        for node, stands in sorted(self._standing().items()):
            found.add_metric([node], 1.0 if stands else 0.0)
        return (found,)


class _Store(Collector):
    def __init__(self, size: Callable[[], StoreSize | None]) -> None:
        self._size = size

    def collect(self) -> Iterable[Metric]:
        on_disk = GaugeMetricFamily("orchestrator_store_bytes", "What the store takes on disk.")
        rows = GaugeMetricFamily("orchestrator_store_rows", "Rows of what grows with the work done.", labels=["table"])
        if (size := self._size()) is not None:
            on_disk.add_metric([], size.size_bytes)
            for table, number in sorted(size.rows.items()):
                rows.add_metric([table], number)
        return (on_disk, rows)


class _Contained(Collector):
    def collect(self) -> Iterable[Metric]:
        found = CounterMetricFamily(
            "orchestrator_contained", "Failures of single items that stopped nothing else.", labels=["what"]
        )
        for what, number in sorted({**dict.fromkeys(CONTAINED, 0), **contained_failures}.items()):
            found.add_metric([what], number)
        return (found,)


class _Nodes(Collector):
    def __init__(self, nodes: Callable[[], Iterable[NodeReading]]) -> None:
        self._nodes = nodes

    def collect(self) -> Iterable[Metric]:
        calls = CounterMetricFamily("orchestrator_rpc_calls", "JSON-RPC calls.", labels=["node"])
        requests = CounterMetricFamily("orchestrator_rpc_http_requests", "HTTP requests.", labels=["node"])
        failures = CounterMetricFamily("orchestrator_rpc_failures", "HTTP requests without answer.", labels=["node"])
        heads = GaugeMetricFamily("orchestrator_node_head", "Newest block.", labels=["node"])
        behind = GaugeMetricFamily(
            "orchestrator_node_behind_blocks",
            "Blocks behind the newest head that a second node confirms; negative when ahead.",
            labels=["node"],
        )
        live = GaugeMetricFamily("orchestrator_node_subscribed", "1 while heads come by WebSocket.", labels=["node"])
        reorganised = CounterMetricFamily(
            "orchestrator_node_reorganisations", "Reorganisations of its chain.", labels=["node"]
        )
        gaps = CounterMetricFamily(
            "orchestrator_node_gaps", "Times that its WebSocket was away or silent.", labels=["node"]
        )
        for node in self._nodes():
            name = [node.name]
            calls.add_metric(name, node.counts.calls)
            requests.add_metric(name, node.counts.http_requests)
            failures.add_metric(name, node.counts.failures)
            if node.head is not None:  # no block is a number that a rule could take for one
                heads.add_metric(name, node.head)
                behind.add_metric(name, node.behind)
            live.add_metric(name, 1.0 if node.subscribed else 0.0)
            reorganised.add_metric(name, node.reorganisations)
            gaps.add_metric(name, node.gaps)
        return (calls, requests, failures, heads, behind, live, reorganised, gaps)
