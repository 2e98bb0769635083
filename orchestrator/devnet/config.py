"""How a devnet is set up."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.devnet.accounts import enclave_key_of
from orchestrator.devnet.enclaves.kinds import ENCLAVE_KINDS, EnclaveKind, EnclaveTerms
from orchestrator.devnet.encoding import from_base64
from orchestrator.devnet.errors import DevnetError
from orchestrator.devnet.versions import UnknownBesuVersionError, behaviour_of

MAX_NODES: Final = 64
MAX_HISTORY: Final = 1_000_000
_MAX_PORT: Final = 65_535
MAX_REPLICAS: Final = 10
_HOUR_MS: Final = 3_600_000
_NAME: Final = re.compile(r"[!-~]{0,100}")
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DevnetConfig:
    """How a devnet is set up; the fields are named as the command line's options.

    Attributes:
        nodes: members' nodes, each with an enclave.
        validators: how many of them, from the first, make blocks; blocks stop when two thirds of them do not follow.
        base_port: node i (from 1) answers HTTP on base_port + 2(i - 1), WebSocket on the next, its enclave, if it has a
            port, on base_port + 2 nodes + i - 1; 0 takes free ports.
        block_period_seconds: between blocks; 0 makes blocks only when ``devnet_mine`` is called.
        besu_version: from "20.10.0" to "25.5.0".
        replay_ms_per_transaction: what a new member's node takes for each transaction of a group's history.
        bundle_ms_per_transaction: what bundling the history takes at submission; None: with Orion a fifth of the
            replay, with Tessera 1.2 times the replay.
        submission_ms: what any ``eea_sendRawTransaction`` takes.
        sends_at_once: how many sends all nodes together work on at a time, since they share a machine's processors;
            others wait for their turn. 0: any number.
        addition_ms: what an add to a group that has a history takes on top, besides bundling each transaction.
        marker_ms: what executing one marker transaction takes: a validator that checks the proposal of its block, and
            then each node that imports the block.
        enclave_timeout_ms: how long a node waits for its enclave, which in turn waits for a frozen one: Tessera three
            quarters of it.
        history: private transactions that a group of the first two nodes has at the start; 0 for no group.
        data_dir: where the network is kept between runs; None keeps nothing.
        seed: of everything random: the same seed and calls give the same hashes.
        chain_id: of public and private signatures.
        fixed_marker_key: each node signs marker transactions with one key, and loses some that are sent at once.
        marker_balance_wei: public balance of the nodes' fixed marker keys.
        min_gas_price_wei: what a transaction must pay, at least, unless it comes through a validator's own API.
        local_priority: what comes through a validator's own API may pay less; False as with Besu's option
            ``--tx-pool-no-local-priority``.
        free_nodes: nodes (from 1) that ask no price and sign their markers with random keys, whatever the others do.
        balances_wei: public balances at the start by account ("0x…" in lower case), besides the development accounts.
        base_fee: the network has a base fee of 0, which blocks of later versions show; False as before London.
        gossip_ms: what a public transaction takes from one node's pool to another's.
        privacy_nonce_always_increments: as Besu's option since 24.7.1.
        revert_reason_enabled: as Besu's option.
        replica_lags_ms: by node (from 1), how late the replicas are that answer in turn on the node's HTTP address.
        identity: what nodes put into ``web3_clientVersion`` after their name, as Besu's option; "" for nothing.
        build: what nodes say there instead of their version, for instance "null"; "" for the version.
        rpc_apis: APIs that nodes enable, as Besu's ``--rpc-http-api``, in lower case; empty for all that are emulated.
        max_batch_requests: the most requests in one batch, as Besu's option; None for the version's own limit.
        host_allowlist: names in the ``Host`` header that are served, as Besu's option; "*" for all.
        enclave_keys: by node (from 1), the own enclave key of nodes that are to have another than usual.
        extra_enclave_keys: by node (from 1), further enclave keys that its enclave hosts: tenants.
        jwt_public_key_file: PEM; every call needs a token (docs/besu.md#multi-tenancy). None: no authentication.
        tls_certificate_file, tls_key_file: PEM; HTTP and WebSocket then speak TLS.
        enclave_http: enclaves answer on ports of their own, and the nodes speak to them there.
        enclave: what kind of enclave each node has: "orion" or "tessera".
        enclaves: by node (from 1), the kind of those that have another.
        enclave_meets_ms: how long enclaves take to know each other again after one of them was away; None: what is
            usual with their kind.
        bundle_limit_bytes: the largest history that an enclave takes, as text in base64; None: no limit with Orion,
            1 MiB with Tessera (on H2 2.1.210). 0: no limit.
        peer_loss: how likely a node loses its peers for good when its enclave is dead while a block needs it.
        virtual_time: time stands still until something waits or ``devnet_advanceTime`` moves it.
        host: address that the nodes listen on; loopback only.
    """

    nodes: int = 3
    validators: int = 3
    base_port: int = 20_000
    block_period_seconds: float = 1.0
    besu_version: str = "23.10.3"
    replay_ms_per_transaction: float = 5.0
    bundle_ms_per_transaction: float | None = None
    submission_ms: float = 2.0
    sends_at_once: int = 0
    addition_ms: float = 0.0
    marker_ms: float = 0.0
    enclave_timeout_ms: float = 5_000.0
    history: int = 0
    data_dir: Path | None = None
    seed: int = 0
    chain_id: int = 1337
    fixed_marker_key: bool = False
    marker_balance_wei: int = 0
    min_gas_price_wei: int = 0
    local_priority: bool = True
    free_nodes: frozenset[int] = frozenset()
    balances_wei: Mapping[str, int] = field(default_factory=dict)
    base_fee: bool = True
    gossip_ms: float = 0.0
    privacy_nonce_always_increments: bool = False
    revert_reason_enabled: bool = True
    replica_lags_ms: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    identity: str = ""
    build: str = ""
    rpc_apis: tuple[str, ...] = ()
    max_batch_requests: int | None = None
    host_allowlist: frozenset[str] = frozenset({"*"})
    enclave_keys: Mapping[int, str] = field(default_factory=dict)
    extra_enclave_keys: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    jwt_public_key_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    enclave_http: bool = False
    enclave: str = "orion"
    enclaves: Mapping[int, str] = field(default_factory=dict)
    enclave_meets_ms: float | None = None
    bundle_limit_bytes: int | None = None
    peer_loss: float = 0.0
    virtual_time: bool = False
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise DevnetError("the devnet cannot be set up: " + "; ".join(problems))

    @property
    def replay_seconds_per_transaction(self) -> float:
        """In seconds."""
        return self.replay_ms_per_transaction / 1000

    @property
    def marker_seconds(self) -> float:
        """In seconds."""
        return self.marker_ms / 1000

    def bundle_seconds_of(self, kind: EnclaveKind) -> float:
        """What bundling takes for each transaction through such an enclave."""
        ms = self.bundle_ms_per_transaction
        return (self.replay_ms_per_transaction * kind.bundling if ms is None else ms) / 1000

    @property
    def enclave_terms(self) -> EnclaveTerms:
        """What the enclaves have in common."""
        return EnclaveTerms(
            wait_seconds=self.enclave_timeout_ms / 1000,
            meets_seconds=None if self.enclave_meets_ms is None else self.enclave_meets_ms / 1000,
            bundle_limit_bytes=self.bundle_limit_bytes,
        )

    def keys_of(self, node: int) -> tuple[str, ...]:
        """All keys of a node's enclave."""
        return (self.enclave_key_of(node), *self.extra_enclave_keys.get(node, ()))

    def enclave_of(self, node: int) -> EnclaveKind:
        """The kind of a node's enclave."""
        return ENCLAVE_KINDS[self.enclaves.get(node, self.enclave)]

    def lags_of(self, node: int) -> tuple[float, ...]:
        """How late each replica of a node is, in seconds; none without replicas."""
        return tuple(lag_ms / 1000 for lag_ms in self.replica_lags_ms.get(node, ()))

    def enclave_key_of(self, node: int) -> str:
        """A node's own enclave key, base64."""
        return self.enclave_keys.get(node, enclave_key_of(node))

    def _problems(self) -> list[str]:
        problems = []
        if not 1 <= self.nodes <= MAX_NODES:
            problems.append(f"nodes is {self.nodes}; give 1 to {MAX_NODES}")
        elif not 1 <= self.validators <= self.nodes:
            problems.append(f"validators is {self.validators}; give 1 to {self.nodes}, the number of nodes")
        ports = (3 if self.enclave_http else 2) * self.nodes
        if self.base_port and not 1 <= self.base_port <= _MAX_PORT - ports:
            problems.append(f"base_port is {self.base_port}; {ports} ports from it must fit below 65,536")
        problems.extend(
            f"enclave is {kind[:20]!r}; give {' or '.join(ENCLAVE_KINDS)}"
            for kind in (self.enclave, *self.enclaves.values())
            if kind not in ENCLAVE_KINDS
        )
        problems.extend(
            f"enclaves names node {node}; there are 1 to {self.nodes}"
            for node in self.enclaves
            if not 1 <= node <= self.nodes
        )
        if self.enclave_meets_ms is not None and not 0 <= self.enclave_meets_ms <= _HOUR_MS:
            problems.append(f"enclave_meets_ms is {self.enclave_meets_ms}; it must be from 0 to an hour")
        if self.bundle_limit_bytes is not None and self.bundle_limit_bytes < 0:
            problems.append(f"bundle_limit_bytes is {self.bundle_limit_bytes}; give 0 (no limit) or more")
        if not 0 <= self.peer_loss <= 1:
            problems.append(f"peer_loss is {self.peer_loss}; give 0 (never) to 1 (always)")
        if self.enclave_http and self.virtual_time:
            problems.append("enclave_http needs real time: what an enclave takes over HTTP passes by itself")
        try:
            behaviour = behaviour_of(self.besu_version)
        except UnknownBesuVersionError as error:
            problems.append(str(error))
        else:
            if self.privacy_nonce_always_increments and not behaviour.nonce_option:
                problems.append(
                    f"privacy_nonce_always_increments needs Besu 24.7.1 or later, besu_version is {self.besu_version}"
                )
        problems.extend(
            f"{name} is {getattr(self, name)}; it must be from 0 to an hour"
            for name in (
                "block_period_seconds",
                "replay_ms_per_transaction",
                "submission_ms",
                "addition_ms",
                "marker_ms",
                "enclave_timeout_ms",
                "gossip_ms",
            )
            if not 0 <= getattr(self, name) <= (_HOUR_MS if "_ms" in name else 3_600)
        )
        if not 0 <= self.sends_at_once <= MAX_NODES:
            problems.append(f"sends_at_once is {self.sends_at_once}; give 0 (any number) to {MAX_NODES}")
        if not 0 <= self.history <= MAX_HISTORY:
            problems.append(f"history is {self.history}; give 0 to {MAX_HISTORY}")
        elif self.history and self.nodes < 2:
            problems.append("history needs two nodes")
        problems.extend(
            f"free_nodes names node {node}; there are 1 to {self.nodes}"
            for node in sorted(self.free_nodes)
            if not 1 <= node <= self.nodes
        )
        problems.extend(
            f"balances_wei: {address[:60]!r} is no address in lower case, or its balance is less than nothing"
            for address, balance_wei in self.balances_wei.items()
            if _ADDRESS.fullmatch(address) is None or balance_wei < 0
        )
        for node, lags_ms in self.replica_lags_ms.items():
            if (
                not 1 <= node <= self.nodes
                or len(lags_ms) > MAX_REPLICAS
                or not all(0 <= ms <= _HOUR_MS for ms in lags_ms)
            ):
                problems.append(
                    f"replica_lags_ms of node {node} is {lags_ms}; give nodes 1 to {self.nodes}, "
                    f"at most {MAX_REPLICAS} lags, each from 0 to an hour"
                )
        if not _NAME.fullmatch(self.identity) or not _NAME.fullmatch(self.build):
            problems.append("identity and build take up to 100 printable characters")
        if self.max_batch_requests is not None and self.max_batch_requests < 1:
            problems.append(f"max_batch_requests is {self.max_batch_requests}; give 1 or more")
        own = {node: (key,) for node, key in self.enclave_keys.items()}
        for name, keys_of in (("enclave_keys", own), ("extra_enclave_keys", self.extra_enclave_keys)):
            for node, keys in keys_of.items():
                if not 1 <= node <= self.nodes:
                    problems.append(f"{name} names node {node}; there are 1 to {self.nodes}")
                problems.extend(
                    f"{name}: {key[:60]!r} is no enclave key, base64 of 32 or 91 bytes"
                    for key in keys
                    if len(from_base64(key) or b"") not in {32, 91}
                )
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            problems.append("TLS needs both tls_certificate_file and tls_key_file")
        return problems
