"""Who lives in a test's house (`tests.support.nodes`): agencies, codes, systems and channels, as a file says it."""

from __future__ import annotations

from pathlib import Path

from tests.support.packets import PROMULGATED

__all__ = ["AGENCIES", "TODAY", "document_id", "folder_rows", "house_rows", "organ"]


TODAY = "2025-10-01"
AGENCIES = (
    "sender", "inbox-a", "inbox-b", "idem", "check", "blind", "pair-a", "pair-b", "folder-a", "folder-b", "nowhere",
    "old", "sender-2",
)  # fmt: skip
_MEMORY = {
    "idem": ("idempotent", ("idem",)),
    "check": ("checkable", ("check",)),
    "blind": ("blind", ("blind",)),
    "pair": ("checkable", ("pair-a", "pair-b")),
}
_POLLED = ("sender", "sender-2", "inbox-a", "inbox-b")


def organ(agency: str) -> str:
    """The organ code of one of the house's agencies; any other text is a code already."""
    return f"000.00.{AGENCIES.index(agency):02d}.H99" if agency in AGENCIES else agency


def document_id(number: str, sender: str = "sender") -> str:
    """The DocumentId of the sender's document with that number."""
    return f"{organ(sender)},{PROMULGATED:%Y/%m/%d},{number}/UBND-VX"


def house_rows() -> str:
    """The file of agencies, systems and channels of a house."""
    tables = []
    for agency in AGENCIES:
        ends = (
            '\nvalid_to = 2025-06-30\nsuccessors = [{id = "check", effective = 2025-07-01}]' if agency == "old" else ""
        )
        tables.append(f'[[agency]]\nid = "{agency}"\nname = "Cơ quan {agency}"\ncodes = ["{organ(agency)}"]{ends}')
        if agency not in ("old", "nowhere", "folder-a", "folder-b"):
            tables.append(f'[[system]]\nname = "s-{agency}"\nspeaks_for = ["{agency}"]')
    for agency in _POLLED:
        tables.append(f'[[channel]]\nid = "hop-{agency}"\nkind = "inbox"\nserves = ["{agency}"]')
    for channel, (sink, served) in _MEMORY.items():
        tables.append(
            f'[[channel]]\nid = "{channel}"\nkind = "memory"\nserves = {list(served)!r}\nsettings = {{sink = "{sink}"}}'
        )
    return "\n\n".join(tables)


def folder_rows(root: Path, settle: float) -> str:
    """The file that adds a folder channel at `root`."""
    return f"""
[[system]]
name = "s-folder"
speaks_for = ["folder-a", "folder-b"]

[[channel]]
id = "folder"
kind = "folder"
system = "s-folder"
serves = ["folder-a", "folder-b"]
speaks_for_agency = true
settings = {{root = "{root}", settle = {settle}}}
"""
