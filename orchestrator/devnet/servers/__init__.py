"""The HTTP and WebSocket ports of nodes and enclaves."""
