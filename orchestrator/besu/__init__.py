"""Client library for Hyperledger Besu nodes with flexible privacy groups."""
