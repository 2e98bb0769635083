"""Status events as documents: their schema, envelope, examples and reference. Pure."""
