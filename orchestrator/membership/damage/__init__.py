"""What can be wrong with a group or a node afterwards, and what mends it. Pure."""
