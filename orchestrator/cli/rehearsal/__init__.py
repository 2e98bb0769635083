"""``orchestrator rehearse``: an addition and a removal on a scratch group of one's own nodes, and what they took."""
