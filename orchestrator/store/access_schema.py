"""The tables of access: tokens of callers, and the audit log. They are part of `schema.metadata`."""

import sqlalchemy as sa

from orchestrator.store.schema import metadata

# What is kept of callers' tokens: never a secret, only its hash.
access_tokens = sa.Table(
    "access_tokens",
    metadata,
    sa.Column("token_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("secret_hash", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger),
)

# Who asked for what: each entry carries the hash of the one before. Triggers refuse any change of it, and any deletion
# beyond the newest cut.
audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("door", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("privacy_group_id", sa.Text, nullable=False),
    sa.Column("change_id", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("previous_hash", sa.Text, nullable=False),
    sa.Column("entry_hash", sa.Text, nullable=False),
)

# Through which entries the audit log was archived, so that they may go. Triggers let in what the log itself has.
audit_cuts = sa.Table(
    "audit_cuts",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("entry_hash", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)
