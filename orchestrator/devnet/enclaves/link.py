"""What a node knows of its enclave's answers where it asks over HTTP: importing waits for them. Pure.

Source: Besu 23.10.3, PrivacyBlockProcessor (the history keys first), PrivacyPrecompiledContract; a client error says
that the payload is not for this node, anything else that the enclave is to be asked again
(docs/besu.md#enclave-interface).
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeAlias

from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.enclaves.enclave import Payload

AGAIN_SECONDS: Final = 0.2
"""After so long a node tries a block again that it could not import as its enclave answered, or did not."""


@dataclass(frozen=True, slots=True)
class SendPayload:
    """A node hands a payload to its enclave; the answer is its key."""

    sender_key: str
    recipients: tuple[str, ...]
    payload: Payload


@dataclass(frozen=True, slots=True)
class ReceivePayload:
    """A node asks its enclave for a payload; the answer is None when it is not there or for others."""

    payload_key: bytes


EnclaveRequest: TypeAlias = SendPayload | ReceivePayload
EnclaveAnswer: TypeAlias = bytes | Payload | None


class EnclaveClient(Protocol):
    """Asks an enclave over HTTP."""

    async def ask(self, request: EnclaveRequest) -> EnclaveAnswer:
        """Return what the enclave answers.

        Raises:
            EnclaveDownError, SendRefusedError: as the enclave answers, or doesn't.
        """


class Asked(NamedTuple):
    """What a block's import asks for: a key that is named as a history and as a transaction is asked for twice."""

    key: bytes
    as_history: bool


class EnclaveLink:
    """A node's way to its enclave.

    Attributes:
        own_url: where the enclave itself answers.
        url: where the node looks for its enclave: there, or at what stands before it.
        client: asks there.
        on_wanted: called when there is something to ask.
    """

    def __init__(self, url: str, client: EnclaveClient, on_wanted: Callable[[], None]) -> None:
        self.own_url = self.url = url
        self.client = client
        self.on_wanted = on_wanted
        self._wanted: dict[Asked, None] = {}
        self._answers: dict[Asked, Payload | None] = {}
        self._block: bytes | None = None

    @property
    def wanted(self) -> list[Asked]:
        """What the node waits for, in the order in which it asks."""
        return list(self._wanted)

    def has(self, transactions: Sequence[PublicTransaction]) -> bool:
        """Return whether all payloads of a block's markers were answered for; asks for those that were not."""
        missing = [asked for asked in asked_for(transactions) if asked not in self._answers]
        if missing:
            self._wanted.update(dict.fromkeys(missing))
            self.on_wanted()
        return not missing

    def begin(self, block_hash: bytes) -> None:
        """Forget what was answered for another block, or for a proposal: each time a block is processed is asked."""
        if self._block != block_hash:
            self._block = block_hash
            self.forget()

    def forget(self) -> None:
        """Forget all answers."""
        self._answers.clear()
        self._wanted.clear()

    def answered(self, asked: Asked, payload: Payload | None) -> None:
        """Take an answer; one that nobody waits for any more is dropped."""
        if asked in self._wanted:
            del self._wanted[asked]
            self._answers[asked] = payload

    def receive(self, asked: Asked) -> Payload | None:
        """Return what was answered."""
        return self._answers[asked]


def asked_for(transactions: Iterable[PublicTransaction]) -> list[Asked]:
    """Return what a block's import asks the enclave for: histories, then transactions."""
    markers = [transaction for transaction in transactions if transaction.is_marker]
    histories = [transaction.history_key for transaction in markers if transaction.history_key is not None]
    return [*(Asked(key, True) for key in histories), *(Asked(marker.payload_key, False) for marker in markers)]


Exchange: TypeAlias = Generator[EnclaveRequest, EnclaveAnswer, None]
"""What a node says to its enclave for one submission: yields requests and is sent the answers, or thrown the errors."""


async def held_over_http(exchange: Exchange, client: EnclaveClient) -> None:
    """Hold an exchange with an enclave over HTTP.

    Raises:
        EnclaveDownError, SendRefusedError: what the exchange doesn't deal with itself.
    """
    try:
        request = next(exchange)
        while True:
            try:
                answer = await client.ask(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, the exchange decides what it means
                request = exchange.throw(error)
            else:
                request = exchange.send(answer)
    except StopIteration:
        return


def held(exchange: Exchange, answer: Callable[[EnclaveRequest], EnclaveAnswer]) -> None:
    """Hold an exchange with an enclave of this process.

    Raises:
        EnclaveDownError, SendRefusedError: what the exchange doesn't deal with itself.
    """
    try:
        request = next(exchange)
        while True:
            try:
                said = answer(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, the exchange decides what it means
                request = exchange.throw(error)
            else:
                request = exchange.send(said)
    except StopIteration:
        return
