"""RabbitMQ as the message queue."""
