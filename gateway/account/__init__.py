"""The account (cân sổ): closes the books of any period from the events, by a path of its own.

    values   Account, BookLine, Gap: what is told
    fold     events in, fates and gaps out: pure
    close    reads the store, page by page

It may import neither the hops nor the machine's table of moves: a check must not share the defect that it looks for.
"""

from gateway.account.close import close_books
from gateway.account.values import Account, BookLine, Fate, Gap, GapKind

__all__ = ["Account", "BookLine", "Fate", "Gap", "GapKind", "close_books"]
