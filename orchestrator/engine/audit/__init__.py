"""Whether groups still agree, all the time and in depth."""
