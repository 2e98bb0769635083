"""Who sends a request, and from where."""
