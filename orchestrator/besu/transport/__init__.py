"""HTTP and WebSocket connections to a node: bounded, batched, with tokens, back after they were lost."""
