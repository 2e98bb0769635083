"""What organisations ask and tell each other of their own nodes, and how far it is believed. Pure."""
