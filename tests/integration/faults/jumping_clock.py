"""Real time that can be set forward and back, as an operator or a time server does it."""

from datetime import datetime, timedelta

from orchestrator.engine.runtime.clock import SystemClock


class JumpingClock(SystemClock):
    """The system's clock with a difference that changes; durations stay real."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        """Return the present time and the difference."""
        return super().now() + self.ahead
