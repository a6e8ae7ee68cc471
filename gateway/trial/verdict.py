"""The end of a trial: the account, the ledgers against the books, the slowest, the parked, one timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from edxml.codes import StatusCode
from edxml.messages import Language, text
from gateway.account import Account, close_books
from gateway.model.instants import DAY, as_datetime, wall_now
from gateway.model.instants import VIETNAM as ZONE
from gateway.model.states import Book
from gateway.store import Store, views
from gateway.trial.ledger import Ledger

__all__ = ["show_verdict"]

_COLUMNS = ("accepted", "delivered", "refused", "withdrawn", "undeliverable", "expired", "parked", "open")


def show_verdict(
    screen: Console,
    language: Language,
    store: Store,
    ledger: Ledger,
    kills: Mapping[str, int],
    failures: Sequence[str],
    seconds: float,
) -> bool:
    """Print what happened; whether the account closes and the ledgers agree with the books."""
    vi = language is Language.VI
    account = close_books(store, wall_now() - DAY, wall_now() + DAY)
    _show_books(screen, account, language)
    with store.read() as connection:
        undelivered = frozenset(views.undelivered(connection, wall_now() - DAY))
    lost = ledger.missing(undelivered)
    twice, altered = ledger.seen_twice(), ledger.altered()
    _show_ledgers(screen, ledger, kills, (len(lost), len(twice), len(altered), len(account.gaps)), seconds, vi)
    for gap in account.gaps[:20]:
        screen.print(f"[red]{gap}[/red]")
    for item in [*lost[:10], *twice[:10], *altered[:10], *failures]:
        screen.print(f"[red]{item}[/red]")
    _show_lists(screen, language, store)
    _show_timeline(screen, language, store, ledger)
    return account.closes and not (lost or twice or altered or failures)


def _show_books(screen: Console, account: Account, language: Language) -> None:
    vi = language is Language.VI
    table = Table(title="Đối soát" if vi else "The account", title_justify="left")
    table.add_column("")
    for name in _COLUMNS:
        table.add_column(text(f"column.{name}", language, {}), justify="right")
    for book in Book:
        total = account.total(book)
        cells = [
            f"{getattr(total, name):,}".replace(",", ".") if vi else f"{getattr(total, name):,}" for name in _COLUMNS
        ]
        table.add_row(text(f"book.{book}", language, {}), *cells)
    screen.print(table)


def _show_ledgers(
    screen: Console,
    ledger: Ledger,
    kills: Mapping[str, int],
    counts: tuple[int, int, int, int],
    seconds: float,
    vi: bool,
) -> None:
    lost, twice, altered, gaps = counts
    killed = ", ".join(f"{role} {n}" for role, n in sorted(kills.items()))
    refusals = ", ".join(f"{code} {n}" for code, n in sorted(ledger.refused.items()))
    if vi:
        screen.print(f"Số lần dừng đột ngột: {killed}; bên gửi phải gửi lại {ledger.retries} lần; {seconds:.0f} giây")
        screen.print(f"Gửi lặp, nhận lại câu trả lời đầu: {ledger.repeats}; trạng thái báo về: {ledger.statuses}")
        screen.print(f"Gói tin bị từ chối: {refusals}")
        screen.print(f"[bold]mất {lost}, nhận hai lần {twice}, sai nội dung {altered}, sai lệch đối soát {gaps}[/bold]")
    else:
        screen.print(f"Killed with -9: {killed}; senders asked again {ledger.retries} times; {seconds:.0f} s")
        screen.print(f"Repeats that got the first answer: {ledger.repeats}; statuses back: {ledger.statuses}")
        screen.print(f"Packets refused: {refusals}")
        screen.print(f"[bold]lost {lost}, seen twice {twice}, altered {altered}, gaps in the books {gaps}[/bold]")


def _show_lists(screen: Console, language: Language, store: Store) -> None:
    vi = language is Language.VI
    with store.read() as connection:
        slow = views.slowest(connection, start=wall_now() - DAY, limit=5)
        parked = views.parked(connection, limit=10)
    screen.print("[bold]Chậm nhất[/bold]" if vi else "[bold]Slowest[/bold]")
    for line in slow:
        screen.print(f"  {line.seconds:6.1f} s  {line.line.document_id}  →  {line.line.organ}")
    screen.print("[bold]Chờ xử lý tay[/bold]" if vi else "[bold]Parked[/bold]")
    for item in parked:
        reason = text(f"delivery.{item.reason}", language, {})
        why = text(item.detail, language, {}) if item.detail else ""
        screen.print(f"  {item.document_id}  →  {item.organ}: {reason} {why}")
    if not parked:
        screen.print("  —")


def _show_timeline(screen: Console, language: Language, store: Store, ledger: Ledger) -> None:
    """The whole way of the first recipient's copy of an urgent letter, in Vietnamese whatever the language."""
    sent = next((s for s in ledger.sent.values() if s.name == "urgent"), None)
    if sent is None:
        return
    with store.read() as connection:
        view = views.document(connection, sent.packet_id, seen_by=None)
    if view is None:
        return
    first = view.recipients[0]
    vi = language is Language.VI
    heading = f"Diễn biến: {view.packet.document_id} → {first.organ}"
    screen.print(f"[bold]{heading if vi else heading.replace('Diễn biến', 'Timeline')}[/bold] (mã giả định)")
    for line in view.timeline:
        if line.delivery_id in ("", first.delivery_id):
            at = as_datetime(line.at).astimezone(ZONE)
            what = text(f"event.{line.kind.replace('.', '_')}", Language.VI, {})
            reason = _why(line.kind, line.reason)
            screen.print(f"  {at:%H:%M:%S}.{at.microsecond // 1000:03d}  {what}  [dim]{reason}[/dim]")


def _why(kind: str, reason: str) -> str:
    """The reason of an event in words: a status has a gloss, a delivery's move a sentence."""
    if kind == "status.recorded":
        return f"{reason} {StatusCode(reason).gloss(Language.VI)}"
    return text(f"delivery.{reason}", Language.VI, {}) if kind.startswith("delivery.") else ""
