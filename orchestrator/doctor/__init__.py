"""Is everything as the daemon needs it? One table of checks, what is asked for each, and how answers are judged."""
