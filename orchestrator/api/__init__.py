"""HTTP: changes, groups, status events as server-sent events, the dashboard, and what monitoring asks for.

Nothing is imported here: the command line uses the documents alone, and has to be quick.
"""
