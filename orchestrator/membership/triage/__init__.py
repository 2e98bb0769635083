"""What a fact means for a change in its state, and what becomes of a change that met a reason. Pure."""
