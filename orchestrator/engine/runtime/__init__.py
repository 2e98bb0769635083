"""What every part of a running engine leans on: time, ids, turns, leases, isolation, traces."""
