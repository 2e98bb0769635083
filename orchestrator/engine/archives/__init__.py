"""What leaves the store after a while: ended changes and old entries of the audit log, kept in files first."""
