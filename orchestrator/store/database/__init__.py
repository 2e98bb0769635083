"""Databases: addresses, connections, the state of the server, the revision of the tables."""
