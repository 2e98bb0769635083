"""Messages as they come in and go out as bytes: strict JSON, CloudEvents, and their signatures. Pure."""
