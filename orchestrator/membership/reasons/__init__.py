"""Why a change waits, fails or needs a person, and what to do about it. Pure."""
