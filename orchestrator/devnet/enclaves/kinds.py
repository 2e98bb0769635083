"""Orion and Tessera, as far as nodes notice which of the two their enclave is. Pure.

Source: docs/besu.md#tessera, #enclaves-that-fail; Orion 21.1.1 and Tessera 22.1.1, the resources that answer Besu.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.devnet import errors
from orchestrator.devnet.errors import RpcError


class SendRefusedError(Exception):
    """An enclave refuses to distribute a payload.

    Attributes:
        status: HTTP status.
        said: in the enclave's own words.
        seconds: it says so after so long.
    """

    def __init__(self, status: int, said: str, seconds: float = 0.0) -> None:
        super().__init__(said)
        self.status = status
        self.said = said
        self.seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveKind:
    """One kind of enclave.

    Attributes:
        name: as on the command line.
        writes_json: errors are JSON, ``{"error": …}``; otherwise text.
        unknown_recipient: what it answers, with which status, to a send to a key that it knows no host of.
        names_key: the key follows.
        foreign_sender: to a send from a key that it doesn't host.
        unpropagated: to a send that a recipient's enclave did not take.
        offline: to a send to an enclave that refuses connections, or did not answer in time.
        not_found: to who asks for a payload that it doesn't have; the key follows where it is text.
        forgets_peers: an enclave that does not answer is forgotten, as if nobody hosted its keys, until it is met
            again.
        peer_patience: how long it waits for another enclave, as a part of what Besu waits for it: 1 and more never
            show.
        notices_seconds: after so long it has noticed without a send that another one is away.
        meets_seconds: how long after its own restart, or after another's return, it knows the other again.
        bundling: what bundling takes for each transaction, as a part of what a replay takes.
        bundle_limit_bytes: the largest bundle, as the text that Besu hands over; None for no limit.
        limit_patience: a larger one is refused after so many times what Besu otherwise waits.
    """

    name: str
    writes_json: bool
    unknown_recipient: tuple[int, str]
    names_key: bool
    foreign_sender: tuple[int, str]
    unpropagated: tuple[int, str]
    offline: tuple[int, str]
    not_found: str
    forgets_peers: bool
    peer_patience: float
    notices_seconds: float
    meets_seconds: float
    bundling: float
    bundle_limit_bytes: int | None = None
    limit_patience: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveTerms:
    """What a devnet's enclaves have in common.

    Attributes:
        wait_seconds: how long a node waits for its enclave; Besu 23.10.3, VertxRequestTransmitter.
        meets_seconds: how long enclaves take to know each other again; None: what is usual with their kind.
        bundle_limit_bytes: the largest bundle; None: what is usual with their kind; 0: no limit.
    """

    wait_seconds: float = 5.0
    meets_seconds: float | None = None
    bundle_limit_bytes: int | None = None


DEFAULT_TERMS: Final = EnclaveTerms()

ORION: Final = EnclaveKind(
    name="orion",
    writes_json=True,
    unknown_recipient=(500, "NodeMissingPeerUrl"),
    names_key=False,
    foreign_sender=(500, "EnclaveNoMatchingPrivateKey"),
    unpropagated=(500, "NodePropagatingToAllPeers"),
    offline=(500, "NodePropagatingToAllPeers"),
    not_found="EnclavePayloadNotFound",
    forgets_peers=False,
    peer_patience=1.0,
    notices_seconds=0.0,
    meets_seconds=60.0,
    bundling=0.2,
)

TESSERA: Final = EnclaveKind(
    name="tessera",
    writes_json=False,
    unknown_recipient=(404, "Recipient not found for key: "),
    names_key=True,
    foreign_sender=(404, "Private key not found for public key"),
    unpropagated=(500, "Unable to push payload to recipient"),
    offline=(410, "Connection error while communicating with recipient"),
    not_found="Message with hash {key} was not found",
    forgets_peers=True,
    peer_patience=0.76,
    notices_seconds=5.0,
    meets_seconds=2.0,
    bundling=1.2,
    bundle_limit_bytes=1024 * 1024,
)

ENCLAVE_KINDS: Final[Mapping[str, EnclaveKind]] = {kind.name: kind for kind in (ORION, TESSERA)}

_ANSWERED_AS_THEY_ARE: Final = frozenset(
    {"NodeMissingPeerUrl", "EnclaveNoMatchingPrivateKey", "NodePropagatingToAllPeers"}
)
_ANSWERED_WITHOUT_KEY: Final = "Recipient not found for key:"


def as_besu_answers(said: str) -> RpcError:
    """Return what a node answers when its enclave refused a send in these words: it passes on those that it knows."""
    if said in _ANSWERED_AS_THEY_ARE:
        return RpcError(errors.ENCLAVE, said)
    if said.startswith(_ANSWERED_WITHOUT_KEY):
        return RpcError(errors.ENCLAVE, _ANSWERED_WITHOUT_KEY)
    return errors.enclave_unreachable()
