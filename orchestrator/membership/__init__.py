"""The rules of membership changes: pure functions and frozen data, no I/O, no clock, no chance."""
