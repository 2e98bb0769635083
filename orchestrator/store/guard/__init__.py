"""What a guard keeps in files: what was agreed to, and what it decided."""
