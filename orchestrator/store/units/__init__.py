"""Units of work: plain functions on a connection, each all or nothing."""
