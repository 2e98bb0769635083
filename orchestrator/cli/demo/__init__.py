"""``orchestrator demo``: the main job on emulated nodes, by the same commands and messages that an operator uses."""
