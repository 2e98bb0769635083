"""The client library: nodes, groups, applications' accounts, signers."""
