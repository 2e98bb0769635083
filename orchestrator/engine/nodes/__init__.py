"""The configured nodes: whose they are, how far they are, and which of them stand still."""
