"""Emulated enclaves: Orion and Tessera. Pure."""
