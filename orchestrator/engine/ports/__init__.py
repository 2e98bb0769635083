"""What the engine needs of the world, as protocols that its adapters fulfil: the store, nodes, queues, signers, time.

Every method that leaves the process is bounded in time by its adapter, and raises the errors named here, never a
library's own exception.
"""
