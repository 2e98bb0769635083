"""NATS JetStream as the message queue, also as a child process of the daemon."""
