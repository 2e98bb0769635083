"""Traces of changes for OpenTelemetry: which spans a change has, and how they get to a collector."""
