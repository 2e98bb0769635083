"""What is under each address."""
