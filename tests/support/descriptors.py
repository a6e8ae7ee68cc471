"""A process that holds many descriptors, as one with thousands of connections does."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["many_descriptors"]

_MANY = 1100  # above what select() takes


@contextmanager
def many_descriptors() -> Iterator[None]:
    """Whatever this process opens meanwhile gets a descriptor above 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        if soft < 2 * _MANY:
            resource.setrlimit(resource.RLIMIT_NOFILE, (2 * _MANY, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        first = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, first)
        for _ in range(_MANY):
            stack.callback(os.close, os.dup(first))
        yield
