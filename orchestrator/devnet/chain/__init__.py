"""The public chain of the emulated network: blocks, accounts, pools. Pure."""
