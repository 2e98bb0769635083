"""HTTP: changes, groups, status events as server-sent events, the dashboard, and what monitoring asks for.

What a request means is the engine's to say (`engine.intake`), who may make it the table's (`access.table`); where it
listens, and with which sockets and certificates, is in `app.http_service`, and a client of it in `client`.

Nothing is imported here: the command line uses the documents alone, and has to be quick.
"""
