"""Whether the members' nodes agree, while a replay goes on and when it is over."""
