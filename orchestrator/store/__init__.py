"""The durable record of changes, attempts and outgoing events, in SQLite or PostgreSQL."""
