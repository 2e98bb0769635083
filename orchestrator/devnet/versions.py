"""What differs between Besu 20.10 and 25.5.0, as one table of values. Pure.

Source: docs/besu.md#versions, the recorded exchanges, and the tagged sources of Besu where neither says it.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from orchestrator.besu.codec.management_contract import Abi

FIRST: Final = (20, 10, 0)
LAST: Final = (25, 5, 0)

VersionNumber: TypeAlias = tuple[int, int, int]


class UnknownBesuVersionError(ValueError):
    """The text is no Besu version that is emulated."""


@dataclass(frozen=True, slots=True)
class BesuBehaviour:
    """What one version of Besu does. Attributes hold the behaviour of the first emulated version by default.

    Attributes:
        version: as in ``web3_clientVersion``.
        find_methods: names of the method that finds flexible groups by members.
        abi: dialect of the management contract that new groups get, and of the only add that the node recognises.
        proxy_open_while_locked: a locked group executes calls of the proxy (so ``unlock`` works).
        add_needs_proxy: an add is recognised only when it is sent to the proxy.
        group_word: "Onchain" or "Flexible" in messages.
        node_checks_private_from: the node compares ``privateFrom`` with its own key before the enclave does.
        sender_must_be_member: submission refuses when the node's key is neither a member nor added; before, only when
            the group has members without it.
        marker_word: first word of the intrinsic-gas message.
        invalid_params_status: HTTP status that goes with -32602.
        detailed_params: -32602 says which parameter.
        call_reverts_named: ``priv_call`` says why the call failed.
        revert_in_brackets: how the reason follows "Execution reverted".
        max_batch_requests: 0 for no limit.
        transaction_public_key: public transactions show ``publicKey`` and ``raw``.
        transaction_type: public transactions and receipts show ``type``.
        effective_gas_price: public receipts show it.
        private_transaction_hash: private receipts and transactions show the private hash.
        base_fee: blocks show ``baseFeePerGas``.
        qbft_api: ``rpc_modules`` lists ``qbft``.
        notes_included_as_dropped: ``droppedPendingTransactions`` also names transactions that were mined.
        equal_price_replaces: a transaction replaces one at the same account and nonce unless it pays less; before, it
            must pay more than a tenth more.
        pending_by_sender: how many of one sender the pool takes; 0 for any number.
        future_by_sender: how far from the sender's nonce the pool takes one; 0 for any distance.
        too_distant_word: how the refusal of a nonce too far away is spelled.
        shelves_unpriced: a pool keeps transactions without a price and puts them into no block: with a base fee those
            that came first through a node that is no validator, without one those that came from another node.
        maps_read_before_replay: a block starts from its parent's head map as it was before the block's replays.
        distributes_history: ``priv_distributeRawTransaction`` bundles the history for an addition and answers two keys;
            before, only a send does, and a marker of what was distributed brings the new member no history.
        nonce_option: ``--privacy-nonce-always-increments`` exists.
        unreadable_frame_is_internal: a WebSocket frame that is no JSON is an internal error, before an invalid request.
        java: last part of ``web3_clientVersion``.
    """

    version: str
    find_methods: tuple[str, ...] = ("privx_findOnChainPrivacyGroup",)
    abi: Abi = Abi.BYTES32
    proxy_open_while_locked: bool = False
    add_needs_proxy: bool = False
    group_word: str = "Onchain"
    node_checks_private_from: bool = True
    sender_must_be_member: bool = False
    marker_word: str = "Private"
    invalid_params_status: int = 400
    detailed_params: bool = False
    call_reverts_named: bool = False
    revert_in_brackets: bool = False
    max_batch_requests: int = 0
    transaction_public_key: bool = False
    transaction_type: bool = False
    effective_gas_price: bool = False
    private_transaction_hash: bool = True
    base_fee: bool = False
    qbft_api: bool = False
    notes_included_as_dropped: bool = False
    distributes_history: bool = False
    equal_price_replaces: bool = False
    pending_by_sender: int = 0
    future_by_sender: int = 0
    too_distant_word: str = "is"
    shelves_unpriced: bool = False
    maps_read_before_replay: bool = False
    nonce_option: bool = False
    unreadable_frame_is_internal: bool = False
    java: str = "openjdk-java-17"

    def client_version(self, identity: str = "", build: str = "") -> str:
        """The answer of ``web3_clientVersion``, with the node's identity and the build's name where it has them."""
        return "/".join(filter(None, ("besu", identity, f"v{build or self.version}", "linux-x86_64", self.java)))


_FLEXIBLE_FIND: Final = ("privx_findFlexiblePrivacyGroup", "privx_findOnchainPrivacyGroup")

CHANGES: Final[tuple[tuple[VersionNumber, dict[str, Any]], ...]] = (
    ((21, 1, 0), {"transaction_public_key": True}),
    ((21, 7, 0), {"effective_gas_price": True, "node_checks_private_from": False}),
    ((21, 7, 4), {"proxy_open_while_locked": True, "add_needs_proxy": True}),
    ((21, 10, 2), {"sender_must_be_member": True, "distributes_history": True}),
    (
        (22, 1, 0),
        {
            "find_methods": _FLEXIBLE_FIND,
            "group_word": "Flexible",
            "marker_word": "Privacy",
            "private_transaction_hash": False,
            "qbft_api": True,
        },
    ),
    ((22, 4, 0), {"unreadable_frame_is_internal": True}),
    ((22, 10, 0), {"abi": Abi.BYTES, "pending_by_sender": 5, "too_distant_word": "it"}),
    ((22, 10, 3), {"too_distant_word": "is"}),
    (
        (23, 1, 0),
        {
            "invalid_params_status": 200,
            "max_batch_requests": 1024,
            "transaction_public_key": False,
            "transaction_type": True,
            "base_fee": True,
        },
    ),
    ((23, 4, 0), {"call_reverts_named": True}),
    ((23, 10, 0), {"pending_by_sender": 0, "future_by_sender": 200}),
    ((23, 10, 2), {"equal_price_replaces": True}),
    ((24, 5, 0), {"shelves_unpriced": True}),
    ((24, 7, 1), {"nonce_option": True}),
    ((24, 8, 0), {"detailed_params": True}),
    ((24, 12, 0), {"notes_included_as_dropped": True}),
    ((25, 2, 0), {"revert_in_brackets": True, "java": "openjdk-java-25"}),
    ((25, 5, 0), {"maps_read_before_replay": True}),
)
"""Each entry: the version that brought a change, and the attributes that it changed."""


def parse_version(text: str) -> VersionNumber:
    """Read a version such as "23.10.3" (the third number may be left out).

    Raises:
        UnknownBesuVersionError: it is none, or none from 20.10 to 25.5.0.
    """
    parts = text.split(".")
    if len(text) > 20 or not 2 <= len(parts) <= 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise UnknownBesuVersionError(f"{text[:40]!r} is no Besu version; write it like 23.10.3")
    major, minor, patch = (*(int(part) for part in parts), 0)[:3]
    if not FIRST <= (major, minor, patch) <= LAST:
        raise UnknownBesuVersionError(
            f"Besu {text} is not emulated; flexible privacy groups are emulated as in 20.10 to 25.5.0"
        )
    return major, minor, patch


def behaviour_of(version: str) -> BesuBehaviour:
    """Return the behaviour of a version.

    Raises:
        UnknownBesuVersionError: no such version is emulated.
    """
    number = parse_version(version)
    behaviour = BesuBehaviour(version=".".join(str(part) for part in number))
    for since, changed in CHANGES:
        if number >= since:
            behaviour = replace(behaviour, **changed)
    return behaviour
