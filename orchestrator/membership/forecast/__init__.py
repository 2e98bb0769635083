"""Whether a new member's node can replay a group's history: facts in, a verdict out. Pure."""
