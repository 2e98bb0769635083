"""``eea_sendRawTransaction`` and ``priv_distributeRawTransaction``: checks, distribution, bundling, marker. Pure.

Source: docs/besu.md#life-of-a-change, #errors-at-submission, #nonces; Besu 21.1.7 and 23.10.3, the methods' sources,
for the order of the checks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, ManagementContractError
from orchestrator.besu.codec.private_transaction import (
    InvalidPrivateTransactionError,
    SignedPrivateTransaction,
    decode_private_transaction,
)
from orchestrator.devnet import errors
from orchestrator.devnet.chain.marker_signatures import sign_marker
from orchestrator.devnet.chain.public_transaction import intrinsic_gas
from orchestrator.devnet.chain.transaction_pool import PoolFullError
from orchestrator.devnet.enclaves.enclave import EnclaveDownError, HistoryPayload, TransactionPayload
from orchestrator.devnet.enclaves.kinds import SendRefusedError, as_besu_answers
from orchestrator.devnet.enclaves.link import EnclaveAnswer, EnclaveRequest, Exchange, ReceivePayload, SendPayload, held
from orchestrator.devnet.encoding import data, from_base64
from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.network.marker_place import MarkerPlace
from orchestrator.devnet.network.network import Network
from orchestrator.devnet.nodes.node import Node
from orchestrator.devnet.nodes.private_view import joined_history, members_at, state_at, walked_history
from orchestrator.devnet.private.contract import NO_VERSION, added_keys, is_addition


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission under way.

    Attributes:
        complete: call it once, after the delay: it puts the marker into the pool and returns the answer, or raises
            ``RpcError``.
        exchange: what has to be said to the enclave over HTTP first; then ``delay_seconds`` is known. None where the
            node asks its enclave without.
    """

    _sent: "_Distribution"
    complete: Callable[[], str]
    exchange: Exchange | None = None

    @property
    def delay_seconds(self) -> float:
        """How long the node takes to answer, once the enclave has."""
        return self._sent.delay_seconds


@dataclass(slots=True)
class _Distribution:
    """What became of the payloads of a submission: an enclave that never answered is one that can't be reached."""

    payload: bytes = b""
    delay_seconds: float = 0.0
    failure: RpcError | None = field(default_factory=errors.enclave_unreachable)


def submit(network: Network, node: Node, raw: str, tenant: str | None) -> Submission:
    """Take a raw private transaction; the history is read at the node's head now, the marker is made at the end.

    Args:
        network: the devnet.
        node: the node that was asked.
        raw: "0x…".
        tenant: enclave key of the caller's token; None without multi-tenancy.

    Raises:
        RpcError: as the node answers at once.
    """
    signed, key = _checked(network, node, raw, tenant)
    sent, exchange = _distribute(network, node, signed, key)
    place = MarkerPlace(network, node)
    transaction = signed.transaction

    def complete() -> str:
        place.leave()
        if sent.failure is not None:
            raise sent.failure
        if intrinsic_gas(sent.payload) > transaction.gas_limit:
            raise errors.privacy(
                f"{network.behaviour.marker_word} Marker Transaction failed due to intrinsic gas exceeding the limit. "
                "Gas limit used from the Private Transaction."
            )
        account, account_nonce = place.take()
        marker = sign_marker(
            account,
            account_nonce=account_nonce,
            gas_price=transaction.gas_price,
            gas_limit=transaction.gas_limit,
            payload=sent.payload,
        )
        try:
            network.pool.submit(node, marker)
        except PoolFullError as error:
            raise errors.internal_error() from error
        return data(marker.hash)

    return Submission(sent, complete, exchange)


def distribute(network: Network, node: Node, raw: str, tenant: str | None) -> Submission:
    """As ``submit``, but the payload key is answered, or two for an addition to a group with a history, and no marker
    transaction is made.

    Raises:
        RpcError: as the node answers at once.
    """
    signed, key = _checked(network, node, raw, tenant, from_own_key=True)
    bundles = network.behaviour.distributes_history
    sent, exchange = _distribute(network, node, signed, key, bundles=bundles)

    def complete() -> str:
        if sent.failure is not None:
            raise sent.failure
        return data(sent.payload)

    return Submission(sent, complete, exchange)


def _checked(
    network: Network, node: Node, raw: str, tenant: str | None, *, from_own_key: bool = False
) -> tuple[SignedPrivateTransaction, str]:
    behaviour = network.behaviour
    try:
        signed = decode_private_transaction(raw)
    except InvalidPrivateTransactionError as error:
        raise errors.undecodable() from error
    transaction, key = signed.transaction, tenant or node.key
    if (from_own_key or behaviour.node_checks_private_from) and transaction.private_from != key:
        raise errors.privacy("Private from does not match enclave public key")
    if transaction.restriction != "restricted":
        word = "Unimplemented" if behaviour.group_word == "Onchain" else "Unsupported"
        raise errors.privacy(f"{word} private transaction type")
    members = members_at(node, _group(signed), node.head.number)
    if tenant is not None and members and tenant not in members:
        raise errors.enclave_unreachable()
    if behaviour.node_checks_private_from:
        _check_group(network, signed, members, key)
        _check_transaction(network, node, signed)
    else:
        _check_transaction(network, node, signed)
        _check_group(network, signed, members, key)
    return signed, key


def _check_transaction(network: Network, node: Node, signed: SignedPrivateTransaction) -> None:
    transaction = signed.transaction
    if transaction.value:
        raise errors.privacy("We cannot transfer ether in a private transaction yet.")
    if transaction.chain_id is not None and transaction.chain_id != network.config.chain_id:
        raise RpcError(-32000, "Wrong chainId")
    state = state_at(node, _group(signed), node.head.number)
    if state is not None and transaction.private_nonce < state.private_nonces.get(signed.sender, 0):
        raise RpcError(-32001, "Nonce too low")


def _check_group(network: Network, signed: SignedPrivateTransaction, members: tuple[str, ...], key: str) -> None:
    word = network.behaviour.group_word
    if signed.transaction.privacy_group_id is None:
        raise errors.privacy(f"Private transactions to {word.lower()} privacy groups must use privacyGroupId")
    missing = errors.privacy(f"{word} Privacy group does not exist.")
    adding = _is_addition(network, signed)
    if not members and not adding:
        raise missing
    if key in members:
        return
    if not network.behaviour.sender_must_be_member:
        if members:
            raise missing
    elif not adding or key not in _added(signed):
        raise missing


def _distribute(
    network: Network, node: Node, signed: SignedPrivateTransaction, key: str, *, bundles: bool = True
) -> tuple[_Distribution, Exchange | None]:
    """Send the payloads, with the history where it ``bundles``.

    Returns the marker's input, the time that it takes, and what went wrong in that time; and what is to be said over
    HTTP first, with which they come to be known.
    """
    sent = _Distribution()
    added = _added(signed) if _is_addition(network, signed) else ()
    exchange = _exchange(network, node, signed, key, added, sent, bundles=bundles)
    if node.link is not None:
        return sent, exchange
    enclaves, waited_seconds = network.enclaves, 0.0

    def answer(request: EnclaveRequest) -> EnclaveAnswer:
        nonlocal waited_seconds
        if isinstance(request, SendPayload):
            key, seconds = enclaves.send(
                node.enclave, request.sender_key, request.recipients, request.payload, waited_seconds
            )
            waited_seconds += seconds
            return key
        return enclaves.receive(node.enclave, request.payload_key)

    held(exchange, answer)
    sent.delay_seconds += waited_seconds
    return sent, None


def _exchange(
    network: Network,
    node: Node,
    signed: SignedPrivateTransaction,
    key: str,
    added: tuple[str, ...],
    sent: _Distribution,
    *,
    bundles: bool,
) -> Exchange:
    config = network.config
    group = _group(signed)
    state = state_at(node, group, node.head.number)
    recipients = (*members_at(node, group, node.head.number), *added)
    version = state.contract.version if state is not None else NO_VERSION
    delay = config.submission_ms / 1000
    try:
        said = yield SendPayload(signed.transaction.private_from, recipients, TransactionPayload(signed, version))
        payload = _key(said)
        if bundles and _is_addition(network, signed):
            walked, history_key = walked_history(node, group, node.head.number)
            first = (yield ReceivePayload(history_key)) if walked and history_key is not None else None
            history = joined_history(first if isinstance(first, HistoryPayload) else None, walked)
            if history:
                payload += _key((yield SendPayload(key, added, HistoryPayload(history))))
                delay += config.addition_ms / 1000 + config.bundle_seconds_of(node.enclave.kind) * len(history)
    except SendRefusedError as error:
        sent.delay_seconds, sent.failure = error.seconds, as_besu_answers(error.said)
    except EnclaveDownError as error:
        sent.delay_seconds, sent.failure = error.seconds, errors.enclave_unreachable()
    else:
        sent.payload, sent.delay_seconds, sent.failure = payload, network.take_turn(delay), None


def _key(answer: EnclaveAnswer) -> bytes:
    if not isinstance(answer, bytes):
        raise EnclaveDownError("the enclave answered no key")
    return answer


def _group(signed: SignedPrivateTransaction) -> bytes:
    return from_base64(signed.transaction.privacy_group_id or "") or b""


def _is_addition(network: Network, signed: SignedPrivateTransaction) -> bool:
    transaction = signed.transaction
    return transaction.to == MANAGEMENT_PROXY and is_addition(network.behaviour.abi, transaction.data)


def _added(signed: SignedPrivateTransaction) -> tuple[str, ...]:
    try:
        return added_keys(signed.transaction.data)
    except ManagementContractError as error:
        raise errors.undecodable() from error
