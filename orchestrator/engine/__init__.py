"""Drives the rules: turns commands into calls on ports and what was observed into facts."""
