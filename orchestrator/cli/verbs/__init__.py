"""The verbs of ``orchestrator``; each imports what it needs when it runs."""
