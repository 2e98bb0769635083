"""What daemons of different organisations ask and tell each other of their own nodes, signed."""
