"""What a guard tells of its decisions: metrics, a page for operators, status events, readiness for systemd."""

import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.guard.proxy import Counts
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store.guard.decisions import Decided, DecisionFile, document_of

MOST_SHOWN: Final = 1_000


def decision_event(decided: Decided, node: str, member: str) -> StatusEvent:
    """Return what subscribers are told of a decision.

    Args:
        decided: The decision.
        node: The guarded node's name.
        member: Its enclave key.
    """
    return StatusEvent(
        type=EventType.GROUP_GUARDED,
        privacy_group_id=decided.privacy_group_id,
        data={
            "node": node,
            "member": member,
            "outcome": decided.decision.outcome.value,
            "history_key": decided.key,
            "head": decided.head,
            "owner": decided.owner,
            "sent_by": decided.sent_by,
            "rule": decided.decision.slug,
            "detail": decided.decision.detail,
        },
    )


class GuardMetrics:
    """What is counted.

    Args:
        counts: What went through the proxy.
    """

    def __init__(self, counts: Counts) -> None:
        self.registry = CollectorRegistry()
        self._decisions = Counter(
            "orchestrator_guard_decisions",
            "Histories that were passed to the node or refused, by rule.",
            ["outcome", "rule"],
            registry=self.registry,
        )
        self.registry.register(_Passed(counts))

    def on_decision(self, decided: Decided) -> None:
        """Count a decision."""
        self._decisions.labels(decided.decision.outcome.value, decided.decision.slug).inc()


class _Passed(Collector):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        for name, text, value in (
            ("requests", "Requests of the node.", self._counts.requests),
            ("bundles", "Answers that held a history.", self._counts.bundles),
            ("refused", "Histories that the node did not get.", self._counts.refused),
            ("enclave_failures", "Requests that the enclave did not answer.", self._counts.failures),
            ("passing_seconds", "What passing took, the enclave included.", self._counts.seconds),
        ):
            found = CounterMetricFamily(f"orchestrator_guard_{name}", text)
            found.add_metric([], value)
            yield found


def status_answer(
    metrics: GuardMetrics, decisions: DecisionFile
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return what answers the operators' page: `/metrics`, `/decisions` (newest first), `/healthz`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/metrics":
                return web.Response(
                    body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
                )
            case "/decisions":
                # Bounded: a stranger may have had thousands of additions refused.
                newest = decisions.all()[-MOST_SHOWN:][::-1]
                return web.Response(
                    text=json.dumps([document_of(one) for one in newest]), content_type="application/json"
                )
            case "/healthz":
                return web.Response(text="ok")
        return web.Response(status=404, text="Not Found")

    return answer


def notify(state: str) -> None:
    """Tell systemd how the service is, where it asks for it: ``READY=1``, ``STOPPING=1``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
        try:
            # "@" stands for the zero byte that begins the name of an abstract socket.
            told.connect("\0" + address[1:] if address[0] == "@" else address)
            told.sendall(state.encode())
        except OSError:
            return  # whoever asked for it is gone
