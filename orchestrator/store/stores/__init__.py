"""The ports of the rest of the program on SQL: each method is one unit of work in a worker thread."""
