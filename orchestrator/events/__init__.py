"""Status events on their way out: documents, the relay to the message queue, the feed for subscribers, webhooks.

Which events a step makes, and what they say, is decided by the rules (`membership.news`); they are committed with the
step by the store. The connection to a queue is `broker`'s, the stream over HTTP `api`'s.
"""
