"""How late: the delivery that took longest while nothing was done to the province. Told, never judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.prove.ledger import Record

__all__ = ["Lateness", "Window", "measure"]

Window = tuple[float, float]
"""From when until when a fault stood, by the clock of the ledgers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """Seconds from the sender's answer to the recipient's line. `quiet`: deliveries that no fault's window touched."""

    deliveries: int = 0
    slowest: float = 0.0
    quiet: int = 0
    slowest_quiet: float = 0.0
    name: str = ""  #: the packet of `slowest_quiet`
    agency: str = ""

    def line(self) -> str:
        """For the report."""
        if not self.quiet:
            return f"lateness: all of {self.deliveries} deliveries met a fault; the slowest took {self.slowest:.1f} s"
        return (
            f"lateness: {self.quiet} of {self.deliveries} deliveries met no fault, the slowest of these took "
            f"{self.slowest_quiet:.1f} s ({self.name} → {self.agency}); the slowest of all {self.slowest:.1f} s"
        )


def measure(record: Record, windows: Iterable[Window]) -> Lateness:
    """Of every first copy that a recipient saw of what was accepted; one without a time on both lines is left out."""
    faults = tuple(windows)
    digests = {meant.name: meant.digest for meant in record.meant}
    began: dict[str, tuple[float, str]] = {}
    for told in record.told:
        if told.is_accepted and told.at and (digest := digests.get(told.name)):
            began.setdefault(digest, (told.at, told.name))
    spans = []
    for seen in record.seen:
        if seen.is_copy and not seen.is_status and seen.at and seen.digest in began:
            start, name = began[seen.digest]
            is_quiet = not any(begin <= seen.at and end >= start for begin, end in faults)
            spans.append((max(0.0, seen.at - start), is_quiet, name, seen.agency))
    quiet = [span for span in spans if span[1]]
    slowest, _, name, agency = max(quiet, default=(0.0, True, "", ""))
    return Lateness(
        deliveries=len(spans), slowest=max((span[0] for span in spans), default=0.0), quiet=len(quiet),
        slowest_quiet=slowest, name=name, agency=agency,
    )  # fmt: skip
