"""What a guard makes of the history bundles that pass it. Pure."""
