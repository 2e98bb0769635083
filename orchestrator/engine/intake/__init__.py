"""Requests as they come in, until each is a durable change or a dead letter."""
