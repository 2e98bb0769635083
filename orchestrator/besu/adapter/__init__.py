"""The client library as the engine's ports."""
