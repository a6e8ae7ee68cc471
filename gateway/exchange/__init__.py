"""The six hops: take in, accept, dispatch, relay, deliver, acknowledge; and what time and operators do.

A hop takes a group and gives a tuple of outcomes; it leaves one committed change, and may run twice.
"""
