"""Wire formats of Besu: bytes and JSON to typed values and back. Pure."""
