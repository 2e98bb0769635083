"""Message queues: where triggers come from and status events go to."""
