"""Private states of groups: contract, execution, replay. Pure."""
