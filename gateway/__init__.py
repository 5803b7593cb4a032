"""The edge: who is asking, and which service answers.

Owns users, sessions, invites and API tokens. Everything else under /admin is streamed to the service that owns its
first path segment (proxy.py). It adds no business rules and parses no bodies but its own.
"""
