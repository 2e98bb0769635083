"""Who may do what: roles, scopes, the one table of rules, and the chain of the audit log. Pure."""
