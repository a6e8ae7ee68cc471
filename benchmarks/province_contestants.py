"""The two that are compared: the product as a province runs it, and the composite limit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.contestants import RECIPIENTS
from benchmarks.load import Agency, LoadPlan
from benchmarks.measure import LoadRun
from benchmarks.product import gaps_of, prepare
from benchmarks.province_limit import SCHEMA, Books, count_books
from benchmarks.province_services import Process, ProvinceServer, Services, serve_province

__all__ = ["LIMIT", "PRODUCT", "ROLES", "Contestant", "Place"]

_TOKEN: Final = "limit"
ROLES: Final = ("api", "relay", "deliver", "periodic", "inspect")
"""Processes of the product in a province; folders to take packets from have one more, which has nothing to do here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A contestant made ready: who writes to whom on it, and where everything lies."""

    folder: Path
    settings: dict[str, str]
    sender: Agency
    recipients: tuple[Agency, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Something to measure. `match` gives a sentence for everything in its books, read after it ended, that disagrees
    with what the load generator did."""

    name: str
    dialect: str
    prepare: Callable[[Path, Services], Place]
    processes: Callable[[Place], tuple[Process, ...]]
    match: Callable[[Place, LoadPlan, LoadRun], tuple[str, ...]]

    @contextmanager
    def serve(self, place: Place, services: Services) -> Iterator[ProvinceServer]:
        """All its processes on `place`."""
        with serve_province(self.processes(place), place.folder, services, place.settings) as server:
            yield server


def _prepare_limit(folder: Path, services: Services) -> Place:
    settings = services.new_place()
    with psycopg.connect(settings["TRUC_DATABASE"], autocommit=True) as connection:
        connection.execute(SCHEMA)

    def agency(number: int) -> Agency:
        code = f"000.00.{number:02}.H99"
        return Agency(id=code, code=code, name=f"UBND xã mẫu số {number} (mã giả định)", token=_TOKEN)

    return Place(
        folder=folder, settings=settings, sender=agency(1),
        recipients=tuple(agency(number) for number in range(2, RECIPIENTS + 2)),
    )  # fmt: skip


def _limit_processes(place: Place) -> tuple[Process, ...]:
    database = place.settings["TRUC_DATABASE"]
    user, password = (
        Path(place.settings[f"TRUC_BROKER_{name}_FILE"]).read_text("utf-8") for name in ("USER", "PASSWORD")
    )
    broker = place.settings["TRUC_BROKER"].replace("://", f"://{user}:{password}@", 1)
    queues = (sys.executable, "-m", "benchmarks.province_limit_queues")
    return (
        Process(
            name="api", command=(sys.executable, "-m", "benchmarks.province_limit", str(place.folder), _TOKEN, database)
        ),
        Process(name="relay", command=(*queues, "relay", database, broker)),
        Process(name="deliver", command=(*queues, "worker", database, broker)),
    )


def _match_limit(place: Place, plan: LoadPlan, run: LoadRun) -> tuple[str, ...]:
    documents = plan.warm_up + run.result.confirmed
    deliveries = documents * plan.each
    wanted = Books(
        packets=documents, delivered=deliveries, receipts=deliveries, events=documents + deliveries, waiting=0,
        blobs=documents,
    )  # fmt: skip
    counted = count_books(place.settings["TRUC_DATABASE"], place.folder)
    return () if counted == wanted else (f"the limit's books say {counted}, not {wanted}",)


def _prepare_product(folder: Path, services: Services) -> Place:
    entry = prepare(folder, "api", more=services.new_place())
    return Place(
        folder=folder, settings=dict(entry.environment), sender=entry.sender, recipients=entry.recipients
    )  # fmt: skip


def _product_processes(_place: Place) -> tuple[Process, ...]:
    return tuple(Process(name=role, command=(sys.executable, "-m", "gateway", role)) for role in ROLES)


def _match_product(place: Place, plan: LoadPlan, run: LoadRun) -> tuple[str, ...]:
    """The rows and blobs are what the load generator did, and the account (cân sổ) closes."""
    documents = plan.warm_up + run.result.confirmed
    wanted = {"packets": documents, "delivered": documents * plan.each, "fetched": documents * plan.each}
    with closing(psycopg.connect(place.settings["TRUC_DATABASE"])) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM packets), (SELECT count(*) FROM deliveries WHERE state = 'delivered'), "
            "(SELECT count(DISTINCT delivery_id) FROM attempts)"
        ).fetchone()
    assert row is not None
    counted = dict(zip(wanted, row, strict=True)) | {
        "blobs": sum(1 for _ in (place.folder / "data" / "blobs").glob("??/*"))
    }
    wanted["blobs"] = documents
    wrong = [] if counted == wanted else [f"the product's rows say {counted}, not {wanted}"]
    gaps = gaps_of(place.folder, place.settings)
    wrong += [f"the account has {len(gaps)} gaps, the first: {gaps[0]}"] if gaps else []
    return tuple(wrong)


LIMIT = Contestant(
    name="composite limit", dialect="limit", prepare=_prepare_limit, processes=_limit_processes, match=_match_limit
)
"""The composite limit (`benchmarks.province_limit`)."""

PRODUCT = Contestant(
    name="truc, processes apart", dialect="v1", prepare=_prepare_product, processes=_product_processes,
    match=_match_product,
)  # fmt: skip
"""The product: its processes apart, on both servers."""
