"""A network of emulated Besu nodes and enclaves, for development and tests."""
