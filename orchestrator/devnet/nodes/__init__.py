"""One emulated node: what it imports, holds and can be made to lose. Pure."""
