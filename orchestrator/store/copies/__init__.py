"""Copies of a store: backup, restoration, the archive of ended changes."""
