"""Are the members' nodes equal, and are the other groups of a new member's node unharmed? Pure."""
