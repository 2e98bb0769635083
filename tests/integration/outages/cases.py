"""Every outage of an enclave, a node or its interface that a change has to outlive: 25 ways, at each of three members.

A way says what fails and when: as the change is asked for, once the group is locked for it, or once the addition's
marker was sent. The same 75 are tried with each kind of enclave.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import Any, Final


class Moment(StrEnum):
    """When it strikes."""

    ASKED = "asked for"
    LOCKED = "locked"
    SENT = "sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How something fails.

    Attributes:
        name: For people.
        moment: When.
        strike: Methods of the devnet's own that begin it, with the parameters that follow the node's number.
        mend: Those that end it, in order.
        rpc: What the node's interface does meanwhile, as ``devnet_rpcFault`` has it.
        seconds: How long it lasts, in virtual time.
    """

    name: str
    moment: Moment
    strike: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    mend: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    rpc: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One outage.

    Attributes:
        way: What fails.
        member: At whom: 1 sends, 2 is a member since long, 3 is to be added.
        enclave: The kind of all enclaves.
    """

    way: Way
    member: int
    enclave: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.enclave}, {MEMBERS[self.member]}, {self.way.name}, once {self.way.moment}"


MEMBERS: Final = {1: "sender", 2: "old member", 3: "new member"}
KINDS: Final = ("orion", "tessera")

_SET, _SLOW, _NODE, _PEERS = "devnet_setEnclave", "devnet_slowEnclave", "devnet_setNode", "devnet_setPropagation"
_LONG_SECONDS: Final = 1800.0
_UP: Final = ((_SET, (True,)),)
_RESTARTED: Final = ((_NODE, (False,)), (_NODE, (True,)))


def _of_enclaves(moment: Moment) -> tuple[Way, ...]:
    def way(name: str, *strike: tuple[str, tuple[Any, ...]], **more: Any) -> Way:
        return Way(name=f"enclave {name}", moment=moment, strike=strike, **{"mend": _UP, **more})

    return (
        # Besu may be left without peers by it: then it is restarted along (docs/besu.md#enclaves-that-fail, 3).
        way("killed", (_SET, ("killed", moment is Moment.SENT)), mend=_UP + _RESTARTED * (moment is Moment.SENT)),
        way("frozen", (_SET, ("frozen",)), seconds=_LONG_SECONDS if moment is Moment.ASKED else 150.0),
        way("restarted", (_SET, ("killed", False)), seconds=8.0),
        way("slow", (_SLOW, (4.5,)), mend=((_SLOW, (0,)),)),
        way("failing", (_SET, ("failing",))),
    )


def _of_nodes() -> tuple[Way, ...]:
    down, up = (_NODE, (False,)), ((_NODE, (True,)),)
    return (
        Way(name="node killed", moment=Moment.LOCKED, strike=(down,), mend=up),
        Way(name="node restarted", moment=Moment.SENT, strike=(down,), mend=up, seconds=6.0),
        Way(name="node frozen", moment=Moment.LOCKED, rpc={"kind": "latency", "seconds": 3600}),
        Way(
            name="node without peers",
            moment=Moment.ASKED,
            strike=((_PEERS, (False, False)),),
            mend=((_PEERS, (True, True)),),
        ),
    )


def _of_interfaces() -> tuple[Way, ...]:
    def way(name: str, moment: Moment, **rpc: Any) -> Way:
        return Way(name=f"interface {name}", moment=moment, rpc=rpc)

    return (
        way("slow", Moment.ASKED, kind="latency", seconds=2.5),
        way("refusing", Moment.LOCKED, kind="status", status=503),
        way("cut off", Moment.SENT, kind="reset"),
        way("losing answers", Moment.ASKED, kind="lost"),
        way("answering errors", Moment.LOCKED, kind="error", code=-32603, message="Internal error"),
        way("answering null", Moment.SENT, kind="null"),
    )


WAYS: Final = (*(way for moment in Moment for way in _of_enclaves(moment)), *_of_nodes(), *_of_interfaces())

CASES: Final = tuple(Case(way=way, member=member, enclave=kind) for kind, way, member in product(KINDS, WAYS, MEMBERS))
"""75 outages with each kind of enclave."""
