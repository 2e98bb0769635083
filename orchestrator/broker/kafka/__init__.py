"""Kafka as the message queue."""
