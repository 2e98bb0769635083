"""Is everything as the daemon needs it? One table of checks, what is asked for each, and how answers are judged.

`questions`, `proofs`, `enclave` and `reading` ask nodes and enclaves, and change nothing; the others judge, purely.
What is asked of the daemon's own store, queue and disk is in `app.surroundings`, which has their adapters; groups and
their past are looked at by the audits (`engine.audit`), and halted nodes brought back by `orchestrator.guard`.
"""
