"""Status events posted to addresses, signed, in order, until they are taken."""
