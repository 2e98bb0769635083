"""How long signatures of accounts take, and how they end: keys may be elsewhere."""

from typing import Final

from prometheus_client import CollectorRegistry, Histogram

from orchestrator.besu.adapter.signatures import Outcome

_SECONDS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class SignatureMetrics:
    """Counts signatures.

    Args:
        registry: Where they are shown.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._took = Histogram(
            "orchestrator_signature_seconds",
            "What asking an account's signer took, by what came of it.",
            ["outcome"],
            buckets=_SECONDS,
            registry=registry,
        )
        for outcome in Outcome:
            self._took.labels(outcome.value)

    def on_signature(self, outcome: Outcome, seconds: float) -> None:
        """Count one signature that was asked for."""
        self._took.labels(outcome.value).observe(seconds)
