"""The command line: verbs, what they print, the demo and the rehearsal.

Most verbs ask a daemon over HTTP (`orchestrator.client`); those that set a daemon up, or look at nodes and store
without one, use the same parts as it does. Nothing is decided here about changes: the daemon looks itself at what it is
asked for. Nothing is imported here: `--help` has to be quick.
"""
