"""Nothing that was counted gets lost, whoever counts at the same time; a scrape shows all of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from monitoring.metrics import Metrics, Vocabulary
from monitoring.registry import METRICS, Hop, HopOutcome, MetricKind
from monitoring.tallies import Tallies

KEY = ("truc_things_total", "a")
THREADS, TIMES = 4, 2_000


class _Meddled(int):
    """A number in whose addition another thread adds too, if it can; it then gets a fifth of a second for it."""

    meddler: threading.Thread

    def __radd__(self, other: Any) -> int:
        self.meddler.start()
        self.meddler.join(0.2)
        return int(other) + int(self)


def test_a_count_that_comes_in_the_middle_of_another_is_not_lost() -> None:
    tallies = Tallies()
    tallies.add(KEY, 1)
    late = _Meddled(10)
    late.meddler = threading.Thread(target=tallies.add, args=(KEY, 100))
    tallies.add(KEY, late)
    late.meddler.join()
    assert tallies.counts(KEY[0]) == [(("a",), 111)]


def test_threads_that_count_while_somebody_reads_are_all_in_the_sums() -> None:
    metrics = Metrics(Vocabulary(routes=frozenset({"/v1/packets"})))

    def work() -> None:
        for _ in range(TIMES):
            metrics.count_request("/v1/packets", 202)
            metrics.count_hop(Hop.ACCEPT, HopOutcome.DONE, 0.25, documents=3)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        metrics.render()
    for thread in threads:
        thread.join()
    page = metrics.render().decode()
    total = THREADS * TIMES
    assert f'truc_http_requests_total{{route="/v1/packets",status="202"}} {float(total)}\n' in page
    assert f'truc_hops_total{{hop="accept",outcome="done"}} {float(3 * total)}\n' in page
    assert f'truc_hop_seconds_bucket{{hop="accept",le="0.25"}} {float(3 * total)}\n' in page
    assert f'truc_hop_seconds_sum{{hop="accept"}} {0.75 * total}\n' in page


def test_who_reads_keeps_what_he_read() -> None:
    tallies = Tallies()
    tallies.observe(KEY, 1.0, 2, (1.0, 2.0))
    ((_, timed),) = tallies.timed(KEY[0])
    tallies.observe(KEY, 1.5, 1, (1.0, 2.0))
    assert (timed.counts, timed.total) == ([2, 0, 0], 2.0)


def test_a_counter_only_grows() -> None:
    with pytest.raises(ValueError, match="grows"):
        Tallies().add(KEY, -1)


def test_histograms_are_those_of_the_library_itself() -> None:
    """Bounds belong to their bucket, and all is written as prometheus_client writes it."""
    spec = next(spec for spec in METRICS if spec.name == "truc_hop_seconds")
    assert spec.kind is MetricKind.HISTOGRAM
    registry = CollectorRegistry()
    theirs = Histogram(spec.name, spec.help, spec.labels, registry=registry, buckets=spec.buckets)
    metrics = Metrics(Vocabulary())
    for value in (0.0, *spec.buckets, 0.0007, 1e9):
        theirs.labels(hop=Hop.ACCEPT).observe(value)
        metrics.count_hop(Hop.ACCEPT, HopOutcome.DONE, value)
    wanted = [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
    ours = [line for line in metrics.render().decode().splitlines() if spec.name in line]
    assert ours == wanted


def test_labels_stand_in_the_order_of_their_metric() -> None:
    metrics = Metrics(Vocabulary(routes=frozenset({"/v1/packets"})))
    metrics._count("truc_http_requests_total", 1, status="202", route="/v1/packets")
    metrics._count("truc_http_requests_total", 1, route="/v1/packets", status="202")
    assert b'{route="/v1/packets",status="202"} 2.0' in metrics.render()
