"""Commands: what the rules want done next. The engine does one and reports one fact."""

from dataclasses import dataclass

from orchestrator.membership.attempt import Action, Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Look at the group, the account and the members, before anything is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Sign the transaction for an action, distribute it and sign its marker; nothing is broadcast yet.

    Attributes:
        action: The intent.
        members: Enclave keys to add or remove; none for lock and unlock.
        after_block: The sending node, and the nodes of members that are added, must have this block before; None for no
            such wait.
    """

    action: Action
    members: tuple[str, ...]
    after_block: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """Sign the attempt's marker again, with one more gas under the same account nonce: the first one is not mined."""

    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Broadcast the attempt's marker (again).

    Attributes:
        attempt: The attempt.
        after_block: The sending node and the new members' nodes must have this block before; None for no such wait.
        widely: Through every node at hand, not through one.
    """

    attempt: Attempt
    after_block: int | None = None
    widely: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Wait for the next block that tells how the attempt ended."""

    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """Take the attempt back: see another transaction of its marker's account mined, or the marker itself."""

    attempt: Attempt


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


Command = Survey | Sign | Renew | Send | Settle | Burn | Observe | Pause
