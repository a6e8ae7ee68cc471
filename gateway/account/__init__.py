"""The account (đối soát): closes the books of any period from the events, by a path of its own.

    values   Account, BookLine, Gap: what is told
    fold     events in, fates and gaps out: pure
    close    reads the store, page by page
    walk     the same by itself, in rounds over everything: what breaks is kept as a fault

It may import neither the hops nor the machine's table of moves: a check must not share the defect that it looks for.
"""

from gateway.account.close import close_books
from gateway.account.values import Account, BookLine, Fate, Gap, GapKind
from gateway.account.walk import check_next

__all__ = ["Account", "BookLine", "Fate", "Gap", "GapKind", "check_next", "close_books"]
