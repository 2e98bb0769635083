"""What the HTTP API needs of the rest of the daemon, as protocols."""
