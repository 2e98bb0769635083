"""Status events: their schema, the relay that publishes them, and who subscribes over HTTP."""
