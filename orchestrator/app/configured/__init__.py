"""What the configuration names, opened: accounts, nodes, callers, endpoints, and this replica's name."""
