"""The sections of the configuration and what each value may be. Units are in the names."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from orchestrator.config import values
from orchestrator.config.access_section import AccessConfig, socket_path
from orchestrator.config.account_section import AccountConfig
from orchestrator.config.guard_section import GuardConfig
from orchestrator.config.kinds import File, Folder, GroupName, Name, Seconds, SecretFile, Section, Subject
from orchestrator.config.node_token_section import NodeTokenConfig
from orchestrator.config.source_section import SourceConfig
from orchestrator.config.store_section import StoreConfig
from orchestrator.config.traces_section import TracesConfig


class BrokerNames(Section):
    """``[broker.names]``: subjects (NATS), queues (RabbitMQ) or topics (Kafka)."""

    requests: Subject = Field(default="membership.requests", description="Where triggers come from.")
    dead: Subject = Field(default="membership.requests.dead", description="Where requests go that can't be accepted.")
    events: Subject = Field(
        default="membership.events",
        description="Status events go to this, a dot and their type; on Kafka to this one topic.",
    )
    consumer: Name = Field(
        default="orchestrator",
        description="Name of the durable consumer, or consumer group, that replicas share.",
    )
    verdicts: Subject = Field(
        default="membership.verdicts", description="Where organisations tell each other what their own nodes show."
    )


class BrokerConfig(Section):
    """``[broker]``: the message queue."""

    url: Annotated[str, AfterValidator(values.check_broker_url)] = Field(
        default="embedded:",
        description="embedded: (a NATS server started for you), nats://, tls://, amqp://, amqps://, kafka:// or "
        "kafkas:// (with TLS); a cluster's servers separated by commas.",
    )
    data_dir: Folder = Field(
        default=Path("orchestrator-broker"), description="Where the embedded server keeps messages."
    )
    user: str | None = Field(default=None, max_length=256, description="User name.")
    password_file: SecretFile | None = Field(default=None, description="File with the user's password.")
    token_file: SecretFile | None = Field(default=None, description="File with a NATS token.")
    credentials_file: SecretFile | None = Field(
        default=None, description="NATS credentials (JWT and seed, or a seed alone)."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="How user and password are shown to Kafka; PLAIN only with TLS."
    )
    ca_file: File | None = Field(default=None, description="PEM of the authority that signed the server's certificate.")
    certificate_file: File | None = Field(default=None, description="PEM of the client's certificate.")
    key_file: SecretFile | None = Field(default=None, description="PEM of the client certificate's key.")
    max_in_flight: int = Field(
        default=256, ge=1, le=10_000, description="Triggers taken from the queue and not yet acknowledged."
    )
    copies: int = Field(default=1, ge=1, le=5, description="Servers of a NATS cluster that keep what is made here.")
    names: BrokerNames = BrokerNames()
    sources: tuple[SourceConfig, ...] = Field(default=(), max_length=256)


class EventsConfig(Section):
    """``[events]``: status events."""

    source: Annotated[str, AfterValidator(values.check_source)] | None = Field(
        default=None,
        description="CloudEvents `source` of status events, an absolute URI such as `https://org.example/membership`; "
        "without it `urn:uuid:` and the store's own id.",
    )


class ApiConfig(Section):
    """``[api]``: HTTP."""

    listen: Annotated[str, AfterValidator(values.check_api_listen)] = Field(
        default="127.0.0.1:8080",
        description="host:port; port 0 takes a free one. Beyond loopback callers prove who they are (`access`).",
    )
    socket: Annotated[Folder, AfterValidator(socket_path)] | None = Field(
        default=None, description="A Unix socket besides, where users of this machine are known by their number."
    )
    certificate_file: File | None = Field(default=None, description="PEM of the certificate: makes it HTTPS.")
    key_file: SecretFile | None = Field(default=None, description="PEM of the certificate's key.")
    origins: tuple[Annotated[str, AfterValidator(values.check_origin)], ...] = Field(
        default=(),
        max_length=16,
        description="Addresses of a proxy before it, such as `https://console.example.org`: their pages may use it.",
    )


class ChainConfig(Section):
    """``[chain]``: what is expected of the chain and put into transactions."""

    confirmations: int = Field(
        default=0, ge=0, le=10_000, description="How deep a block must be; raise it on a chain that can reorganise."
    )
    proof_blocks: int = Field(
        default=3, ge=0, le=1_000, description="Blocks after the effect's in which members must agree as well."
    )
    poll_seconds: Seconds = Field(default=1.0, description="Between polls of the head while a WebSocket is down.")
    stalled_after_seconds: Seconds = Field(default=60.0, description="A replay that stands so long is called stalled.")
    audit_blocks: int = Field(
        default=100, ge=0, le=1_000_000, description="Members are compared every so many blocks; 0 for never."
    )
    audit_calls: int = Field(
        default=6_000,
        ge=100,
        le=1_000_000,
        description="JSON-RPC calls of one such audit; groups that are left out have their turn in the next.",
    )
    verdict_blocks: int = Field(
        default=30,
        ge=0,
        le=100_000,
        description="Blocks after the proof's in which the word of a peer is waited for.",
    )
    attestations: Literal["require", "prefer", "ignore"] = Field(
        default="prefer",
        description="Whether a new member whose node is not ours is added only on the word of a peer, with it where it "
        "comes within 10 s, or without.",
    )
    block_period_seconds: Seconds = Field(
        default=2.0, description="Between two blocks: replays on one node that outlast it are not begun together."
    )
    gas_limit: int = Field(default=3_000_000, ge=21_000, le=1_000_000_000, description="Of each private transaction.")
    gas_price: int = Field(default=0, ge=0, le=10**18, description="In wei; the marker transaction copies it.")


class EngineConfig(Section):
    """``[engine]``: how much is done at once."""

    lanes: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description="Groups that are worked on at the same time; one source gets nine tenths of them at most.",
    )
    replica: Name | None = Field(
        default=None,
        description="Name of this replica, of which one process may run on a store; a restarted one takes up what it "
        "held at once. Without it host name and api.listen are the name, as long as no other process has it.",
    )
    lease_seconds: Annotated[float, Field(ge=1, le=600)] = Field(
        default=8.0, description="After so long without renewal another replica takes a lane over."
    )
    shutdown_seconds: Seconds = Field(default=20.0, description="What may be finished after SIGTERM.")
    repair: Literal["off", "once"] = Field(
        default="off", description="once: a member that lost its addition is removed and added again, one time."
    )
    replays_apart: bool = Field(
        default=True, description="Long replays on one node wait for each other; false lets them overlap."
    )
    events_kept_days: Annotated[float, Field(ge=0.01, le=3650)] = Field(
        default=30.0, description="Published status events are deleted after so long."
    )


class RetentionConfig(Section):
    """``[retention]``: when changes that are over leave the store."""

    archive_dir: Folder | None = Field(
        default=None,
        description="Where ended changes go, as JSON lines, before they leave the store; without it they stay in it.",
    )
    changes_days: Annotated[float, Field(ge=1, le=36_500)] = Field(
        default=90.0,
        description="How long a change stays after its end; a request that comes again is recognised for so long.",
    )
    audit_days: Annotated[float, Field(ge=1, le=36_500)] | None = Field(
        default=None,
        description="How long an entry of the audit log stays before it goes to the archive, too; without it it stays.",
    )


class AdmissionConfig(Section):
    """``[admission]``: how much of one sender's may be unfinished at a time."""

    per_source: int = Field(default=10_000, ge=1, le=1_000_000, description="Unfinished changes of one `source`.")
    per_account: int = Field(default=20_000, ge=1, le=1_000_000, description="Unfinished changes of one account.")
    when_full: Literal["wait", "reject"] = Field(
        default="wait", description="What is over it waits in the queue, or goes to the dead letters; HTTP answers 429."
    )


class LogConfig(Section):
    """``[log]``: what is told on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The lowest level shown.")
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: JSON lines unless standard error is a terminal."
    )


class NodeConfig(Section):
    """``[[nodes]]``: one Besu node that we have access to."""

    name: Name = Field(description="How it is called in logs and answers; unique.")
    http: Annotated[str, AfterValidator(values.check_http_url)] = Field(description="JSON-RPC over HTTP.")
    ws: Annotated[str, AfterValidator(values.check_ws_url)] | None = Field(
        default=None, description="JSON-RPC over WebSocket; without it the head is polled."
    )
    enclave_keys: tuple[Annotated[str, AfterValidator(values.check_enclave_key)], ...] = Field(
        min_length=1, max_length=256, description="Public keys that the node's enclave hosts; the first one sends."
    )
    enclave: Annotated[str, AfterValidator(values.check_http_url)] | None = Field(
        default=None,
        description="The enclave's address for clients; asked whether it is up before anything is sent.",
    )
    enclave_parties: Annotated[str, AfterValidator(values.check_http_url)] | None = Field(
        default=None,
        description="Where Tessera's server for third parties lists the keys that it knows, if not at `enclave`.",
    )
    bundle_limit_bytes: Annotated[int, Field(gt=0)] | None = Field(
        default=None,
        description="The largest history that the enclave takes: 1048576 with Tessera on H2 2.1.210, 65535 with "
        "Tessera on MySQL as its table is defined; none: not known.",
    )
    speaker: Annotated[str, AfterValidator(values.check_address)] | None = Field(
        default=None,
        description="Which of `accounts` signs what this node shows for other organisations; none: nothing is told.",
    )
    besu_version: Annotated[str, AfterValidator(values.check_besu_version)] | None = Field(
        default=None,
        description='Such as "23.10.3", for a node that does not say its version; `orchestrator doctor` tells.',
    )
    token_file: SecretFile | None = Field(
        default=None, description="File with the node's JWT; read again when it changes."
    )
    token: NodeTokenConfig | None = None
    user: Annotated[str, AfterValidator(values.check_user)] | None = Field(
        default=None, description="User name, where what stands before the node asks for one (basic authentication)."
    )
    password_file: SecretFile | None = Field(default=None, description="File with its password; read again.")
    ca_file: File | None = Field(default=None, description="PEM of the authority that signed the node's certificate.")
    certificate_file: File | None = Field(
        default=None, description="PEM of our certificate, for a node (HTTP, WebSocket) or enclave that asks for one."
    )
    key_file: SecretFile | None = Field(default=None, description="PEM of our certificate's key.")

    @property
    def version(self) -> tuple[int, int, int] | None:
        """`besu_version` as numbers; None when it is left to the node to say."""
        return None if self.besu_version is None else values.parse_besu_version(self.besu_version)


class MarkersConfig(Section):
    """``[markers]``: accounts that sign markers where the network asks for permitted or paying ones."""

    seed_file: SecretFile | None = Field(
        default=None,
        description="File with 64 hexadecimal digits that the accounts are derived from; a fresh account for each "
        "marker without it.",
    )
    accounts: int = Field(
        default=10, ge=1, le=1000, description="How many: each has one marker at a time, and one a block at most."
    )


class PeerConfig(Section):
    """``[[peers]]``: whose word is taken for a member whose node we have no access to."""

    enclave_key: Annotated[str, AfterValidator(values.check_enclave_key)] = Field(description="The member; unique.")
    account: Annotated[str, AfterValidator(values.check_address)] = Field(
        description="The account that signs for it: `nodes.speaker` at its operator's daemon."
    )


class WebhookConfig(Section):
    """``[[webhooks]]``: an address that status events are posted to."""

    name: Name = Field(description="How it is called in logs and in its checkpoint; unique.")
    url: Annotated[str, AfterValidator(values.check_http_url)] = Field(description="Where to post.")
    secret_file: SecretFile | None = Field(default=None, description="File with the secret that signs each body.")
    secret: SecretStr | None = Field(default=None, description="The secret; by environment only.")
    authorization_file: SecretFile | None = Field(
        default=None,
        description="File with the `Authorization` header's value, or with a token, which is sent as `Bearer`; read "
        "anew for each post.",
    )
    origin: Annotated[str, AfterValidator(values.check_host_name)] | None = Field(
        default=None,
        description="Our DNS name: the endpoint is asked (OPTIONS, `WebHook-Request-Origin`) whether it wants our "
        "events.",
    )
    types: tuple[Annotated[str, Field(max_length=128)], ...] = Field(
        default=(), max_length=64, description="Event types to post; none for all."
    )
    allow_private: bool = Field(default=False, description="Whether the address may be a private or loopback one.")


class Config(Section):
    """The whole configuration."""

    store: StoreConfig = StoreConfig()
    broker: BrokerConfig = BrokerConfig()
    events: EventsConfig = EventsConfig()
    api: ApiConfig = ApiConfig()
    access: AccessConfig = AccessConfig()
    chain: ChainConfig = ChainConfig()
    engine: EngineConfig = EngineConfig()
    retention: RetentionConfig = RetentionConfig()
    admission: AdmissionConfig = AdmissionConfig()
    markers: MarkersConfig = MarkersConfig()
    log: LogConfig = LogConfig()
    guard: GuardConfig = GuardConfig()
    traces: TracesConfig = TracesConfig()
    nodes: tuple[NodeConfig, ...] = Field(min_length=1, max_length=1024)
    accounts: tuple[AccountConfig, ...] = Field(default=(), max_length=1024)
    peers: tuple[PeerConfig, ...] = Field(default=(), max_length=4096)
    webhooks: tuple[WebhookConfig, ...] = Field(default=(), max_length=64)
    groups: dict[GroupName, Annotated[str, AfterValidator(values.check_group_id)]] = Field(
        default={}, max_length=10_000, description='Names of groups: name = "privacy group id".'
    )


def secret_files(config: Config) -> tuple[Path, ...]:
    """Return the files with secrets that a configuration names, each once."""
    broker = config.broker
    named = (
        *(config.store.password_file, config.store.key_file),
        config.markers.seed_file,
        config.api.key_file,
        config.traces.headers_file,
        *(config.guard.key_file, config.guard.enclave_key_file, config.guard.enclave_token_file),
        *(broker.password_file, broker.token_file, broker.credentials_file, broker.key_file),
        *(path for node in config.nodes for path in (node.token_file, node.password_file, node.key_file)),
        *(node.token.client_secret_file for node in config.nodes if node.token is not None),
        *(path for account in config.accounts for path in account.secret_files),
        *(path for webhook in config.webhooks for path in (webhook.secret_file, webhook.authorization_file)),
    )
    return tuple(dict.fromkeys(path for path in named if path is not None))
