"""All nodes together: pools and gossip, submission, block production. Pure."""
