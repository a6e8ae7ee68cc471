"""Values and pure decisions of the running system: no I/O, no clock.

`states` and `moves` are the closed lists, `chain` the values, `machine` the decisions (docs/guarantees.md tells
which rule is which function), `events` and `errors` the registries.
"""
