"""The store: what the node remembers, and the only place that speaks SQL.

Functions are grouped by noun in modules (packets, deliveries, transfers, events, …), take a connection first and
never commit: the hop does, with `store.write()`.
"""

from sqlalchemy import Connection

from gateway.store.handle import Clock, Store, WallClock, has_database, open_store

__all__ = ["Clock", "Connection", "Store", "WallClock", "has_database", "open_store"]
