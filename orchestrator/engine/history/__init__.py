"""Groups' histories and nodes' replays: read once, kept, and asked for the forecast of an addition."""
