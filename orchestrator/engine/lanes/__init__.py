"""The changes of one group, one batch after the other: claimed, driven, committed."""
