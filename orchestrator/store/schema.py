"""The tables, the same on SQLite and PostgreSQL; the invariants that a database can hold are constraints of it.

Times are whole microseconds since 1970 UTC: exact, ordered and alike on both databases. Structured values (plan,
progress, effect, reason) are JSON texts; `rows` reads and writes them. What a query selects or orders by is a column.
"""

import sqlalchemy as sa

from orchestrator.membership.attempt import AttemptStatus
from orchestrator.membership.model import ENDED, RESTING, Kind, State
from orchestrator.membership.news.group_news import NEWS_TYPES

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

LONGEST_PAUSE_MICROSECONDS = 20 * 60 * 1_000_000
"""Nothing is put off for so long; a time beyond was written by a wrong clock, and holds nothing up."""

# SQLite numbers rows by itself only when the key is declared INTEGER.
Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _listed(values: frozenset[State]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


QUEUED = sa.text(f"state = '{State.QUEUED}'")
"""Conditions of partial indexes are written out, and queries repeat them to the letter, else no planner uses them."""
QUEUED_UNLOCK = sa.text(f"state = '{State.QUEUED}' AND kind = '{Kind.UNLOCK_GROUP}'")
NOT_QUEUED = sa.text(f"state <> '{State.QUEUED}'")
ACTIVE = sa.text(f"state NOT IN ({_listed(RESTING)})")
PENDING = sa.text(f"state NOT IN ({_listed(ENDED | {State.PARKED})})")
_LEADS = sa.text(f"lead_id = change_id AND state NOT IN ({_listed(RESTING)})")
_LIVE = sa.text(f"status IN ('{AttemptStatus.SIGNED}', '{AttemptStatus.SENT}')")
_UNPUBLISHED = sa.text("published_at IS NULL")
RARE_TYPES = frozenset(kind.value for kind in NEWS_TYPES)
"""Types of status events that are looked for among all others: what a person has to know of groups."""
RARE = sa.text(f"type IN ({', '.join(repr(kind) for kind in sorted(RARE_TYPES))})")
_DUE = sa.text("due_at IS NOT NULL")
_HELD = sa.text("holder IS NOT NULL")


def _partial(name: str, *columns: str, where: sa.TextClause, unique: bool = False) -> sa.Index:
    return sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


changes = sa.Table(
    "changes",
    metadata,
    sa.Column("position", Position, primary_key=True, autoincrement=True),
    sa.Column("change_id", sa.Text, nullable=False, unique=True),
    # By which a request is recognised: `rows.request_key`; of rows from before sources were stored, the id itself.
    sa.Column("request_key", sa.Text, nullable=False),
    sa.Column("body_hash", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("privacy_group_id", sa.Text, nullable=False),
    sa.Column("members", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("deadline", sa.BigInteger),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("lead_id", sa.Text),
    sa.Column("batch_limit", sa.Integer, nullable=False),
    sa.Column("batch", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("not_before", sa.BigInteger),
    sa.Column("waiting_since", sa.BigInteger),
    sa.Column("reason", sa.Text),
    sa.Column("plan", sa.Text),
    sa.Column("attempt_id", sa.Text),
    sa.Column("waits_for", sa.Text),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("lock_block", sa.BigInteger),
    sa.Column("giving_up", sa.Boolean, nullable=False),
    sa.Column("transacted", sa.Boolean, nullable=False),
    sa.Column("effect", sa.Text),
    sa.Column("progress", sa.Text, nullable=False),
    sa.Column("repair", sa.Text),
    sa.Column("revision", sa.BigInteger, nullable=False),
    # When it can be worked on: `not_before` while that makes it wait, else `created_at`.
    sa.Column("ready_at", sa.BigInteger, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False, server_default=""),
    sa.Column("source", sa.Text, nullable=False, server_default=""),
    sa.Column("trace", sa.Text),
    sa.CheckConstraint("revision >= 0", name="revision"),
    sa.UniqueConstraint("request_key", name="uq_changes_request_id"),
    sa.CheckConstraint("state <> 'queued' OR lead_id IS NULL", name="queued_has_no_lead"),
    sa.Index("ix_changes_group", "privacy_group_id", "position"),
    sa.Index("ix_changes_request", "request_id", "position"),
    # Without the queue, or it would be taken for finding a group's part of it.
    _partial("ix_changes_state", "state", "position", where=NOT_QUEUED),
    _partial("ix_changes_queued", "privacy_group_id", "position", where=QUEUED),
    _partial("ix_changes_unlocks", "privacy_group_id", "position", where=QUEUED_UNLOCK),
    _partial("ix_changes_active", "privacy_group_id", "position", where=ACTIVE),
    _partial("ix_changes_ready", "privacy_group_id", "ready_at", where=PENDING),
    _partial("ix_changes_source", "source", "account", where=PENDING),
    # One unfinished change leads a group's batch, whatever two confused replicas may try.
    _partial("uq_changes_lead", "privacy_group_id", where=_LEADS, unique=True),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("position", Position, primary_key=True, autoincrement=True),
    sa.Column("attempt_id", sa.Text, nullable=False, unique=True),
    sa.Column("change_id", sa.Text, sa.ForeignKey("changes.change_id"), nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("members", sa.Text, nullable=False),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("private_nonce", sa.BigInteger, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("since_block", sa.BigInteger, nullable=False),
    sa.Column("sent_block", sa.BigInteger),
    sa.Column("seen_block", sa.BigInteger),
    sa.Column("marker", sa.Text, nullable=False),
    sa.Column("renewed", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Index("ix_attempts_change", "change_id", "position"),
    # A second transaction is never signed while the first can still execute.
    _partial("uq_attempts_live", "change_id", where=_LIVE, unique=True),
)

history = sa.Table(
    "history",
    metadata,
    sa.Column("change_id", sa.Text, sa.ForeignKey("changes.change_id"), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("fact", sa.Text, nullable=False),
    sa.Column("from_state", sa.Text, nullable=False),
    sa.Column("to_state", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)

lanes = sa.Table(
    "lanes",
    metadata,
    # Empty for the events that belong to no group: a lane that is never due.
    sa.Column("privacy_group_id", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("lease_until", sa.BigInteger),
    sa.Column("due_at", sa.BigInteger),
    # The newest event's `sequence`: in this row, because whoever writes events of a group holds this row's lock.
    sa.Column("last_sequence", sa.BigInteger, nullable=False),
    # Whose change made it due: lanes are claimed from each source in turn.
    sa.Column("source", sa.Text, nullable=False, server_default=""),
    sa.CheckConstraint("(holder IS NULL) = (lease_until IS NULL)", name="lease_has_a_holder"),
    _partial("ix_lanes_due", "due_at", where=_DUE),
    _partial("ix_lanes_source", "source", "due_at", where=_DUE),
    _partial("ix_lanes_holder", "holder", "privacy_group_id", where=_HELD),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("position", Position, primary_key=True, autoincrement=True),
    sa.Column("privacy_group_id", sa.Text, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("change_id", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("occurred_at", sa.BigInteger, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("published_at", sa.BigInteger),
    sa.Column("traceparent", sa.Text, nullable=False, server_default=""),
    sa.Column("tracestate", sa.Text, nullable=False, server_default=""),
    sa.UniqueConstraint("privacy_group_id", "sequence"),
    _partial("ix_outbox_unpublished", "position", where=_UNPUBLISHED),
    _partial("ix_outbox_rare", "position", where=RARE),
    sa.Index("ix_outbox_group", "privacy_group_id", "position"),
    sa.Index("ix_outbox_change", "change_id", "position"),
    sqlite_autoincrement=True,  # a position is not given out again after compaction
)

# One row: the store's own name, which is in the id of each status event, and the newest event from before it had one.
identity = sa.Table(
    "identity",
    metadata,
    sa.Column("store_id", sa.Text, primary_key=True),
    sa.Column("former_through", sa.BigInteger, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("lease_until", sa.BigInteger, nullable=False),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("paused_since", sa.BigInteger),
    sa.Column("detail", sa.Text, nullable=False),
)

# How far the outbox was deleted: as a whole (DELETED), or some types only (THINNED).
deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)
DELETED = "deleted"
THINNED = "thinned"

# What was read of the chain for the forecast of additions; it can be read again.
group_blocks = sa.Table(
    "group_blocks",
    metadata,
    sa.Column("privacy_group_id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("block_hash", sa.Text, nullable=False),
    sa.Column("state_root", sa.Text, nullable=False),
)

examined_blocks = sa.Table(
    "examined_blocks",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("block_hash", sa.Text, nullable=False),
    # A JSON text; empty for a block in which nothing was found.
    sa.Column("findings", sa.Text, nullable=False),
    # Private transactions in it; what a replay of it costs.
    sa.Column("markers", sa.BigInteger),
    # The only node that said so; empty once a second one has.
    sa.Column("told_by", sa.Text, nullable=False, server_default=""),
)

membership_logs = sa.Table(
    "membership_logs",
    metadata,
    sa.Column("node_key", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("privacy_group_id", sa.Text, nullable=False),
    sa.Column("block_number", sa.BigInteger, nullable=False),
    sa.Column("block_hash", sa.Text, nullable=False),
    sa.Column("member", sa.Text, nullable=False),
    sa.Column("added", sa.Boolean, nullable=False),
)

# How far a group (GROUP_MARK) or a node's groups (NODE_MARK) were read.
history_marks = sa.Table(
    "history_marks",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("block_hash", sa.Text, nullable=False),
)
GROUP_MARK = "group"
NODE_MARK = "node"

# What the watch over new blocks found: groups that newcomers can't replay any more, markers of
# additions, and how far it looked (one row).
unextendable_groups = sa.Table(
    "unextendable_groups",
    metadata,
    sa.Column("privacy_group_id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("block_hash", sa.Text, nullable=False),
    sa.Column("findings", sa.Text, nullable=False),
)

# Which nonce of a configured marker account is whose; one row for each account.
marker_nonces = sa.Table(
    "marker_nonces",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("account_nonce", sa.BigInteger, nullable=False),
    sa.Column("attempt_id", sa.Text, nullable=False),
    sa.Column("reserved_at", sa.BigInteger, nullable=False),
)

seen_additions = sa.Table(
    "seen_additions",
    metadata,
    sa.Column("transaction_hash", sa.Text, primary_key=True),
    sa.Column("addition", sa.Text, nullable=False),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("block_number", sa.BigInteger, nullable=False),
    sa.Index("ix_seen_additions_addition", "addition", "block_number"),
)

watched_blocks = sa.Table(
    "watched_blocks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("block_hash", sa.Text, nullable=False),
    sa.Column("blocks", sa.BigInteger, nullable=False),
    sa.Column("account_twice", sa.BigInteger, nullable=False),
    sa.Column("newest_twice", sa.BigInteger),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("repeated", sa.BigInteger, nullable=False),
    sa.Column("newest_repeated", sa.Text, nullable=False),
)

# What people call groups.
group_names = sa.Table(
    "group_names",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("privacy_group_id", sa.Text, nullable=False),
)

# Which chain each node was on, with one block of it that was deep enough to stay.
node_chains = sa.Table(
    "node_chains",
    metadata,
    sa.Column("node", sa.Text, primary_key=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("genesis_hash", sa.Text, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("block_hash", sa.Text, nullable=False),
)

# What was forecast and measured of additions; the member is empty for what the sender does.
addition_times = sa.Table(
    "addition_times",
    metadata,
    sa.Column("change_id", sa.Text, primary_key=True),
    sa.Column("quantity", sa.Text, primary_key=True),
    sa.Column("enclave_key", sa.Text, primary_key=True),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("besu_version", sa.Text, nullable=False),
    sa.Column("transactions", sa.BigInteger, nullable=False),
    sa.Column("blocks", sa.BigInteger, nullable=False),
    sa.Column("expected_seconds", sa.Float),
    sa.Column("taken_seconds", sa.Float),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("ix_addition_times_node", "node", "besu_version", "quantity", "at"),
)

# One row: the revision that a program must know at least to work with these tables.
oldest_program = sa.Table("oldest_program", metadata, sa.Column("revision", sa.Text, primary_key=True))
