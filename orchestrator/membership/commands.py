"""Commands: what the rules want done next. The engine does one and reports one fact."""

from dataclasses import dataclass

from orchestrator.membership.model import Action, Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Look at the group, the account and the members, before anything is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Sign the transaction for an action: read the private nonce at the node that it goes through.

    Attributes:
        action: The intent.
        members: Enclave keys to add or remove; none for lock and unlock.
    """

    action: Action
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send the attempt's bytes (again)."""

    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Wait for the next block that tells how the attempt ended.

    Attributes:
        attempt: The attempt.
        search: Whether to look for PMTs of it whose hash never came back.
    """

    attempt: Attempt
    search: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """Compare the members' nodes at the effect's block and the blocks after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Do nothing for a while, then go on with `then`.

    Attributes:
        seconds: How long.
        then: What comes after.
    """

    seconds: float
    then: "Command"


Command = Survey | Sign | Send | Settle | Observe | Pause
