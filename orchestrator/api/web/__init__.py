"""Connections and HTTP's own habits: limits, entity tags, waiting, problem documents."""
