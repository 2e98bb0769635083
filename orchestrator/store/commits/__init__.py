"""How units of work get onto a database: many in one transaction, by one writer, told when they are done."""
