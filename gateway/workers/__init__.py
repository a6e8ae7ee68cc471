"""The loops of a running node: each has a `…_once` that a test can step, and a loop that sleeps until woken."""

from gateway.workers.blob_round import check_blobs
from gateway.workers.counting import count_all, start_counting
from gateway.workers.delivery import start_delivery
from gateway.workers.examiner import run_examiner
from gateway.workers.figures import figures_once, start_figures
from gateway.workers.inspect import start_inspection
from gateway.workers.intake_round import start_intake
from gateway.workers.leases import give_back_jobs
from gateway.workers.loop import Loop
from gateway.workers.noting import start_noting
from gateway.workers.periodic import start_periodic
from gateway.workers.recovering import start_recovering
from gateway.workers.relay import start_relay
from gateway.workers.remembering import start_remembering
from gateway.workers.reporting import start_reporting
from gateway.workers.rounds import start_round
from gateway.workers.signatures import start_signatures
from gateway.workers.upkeep import start_upkeep

__all__ = [
    "Loop", "check_blobs", "count_all", "figures_once", "give_back_jobs", "run_examiner", "start_counting",
    "start_delivery", "start_figures", "start_inspection", "start_intake", "start_noting", "start_periodic",
    "start_recovering", "start_relay", "start_remembering", "start_reporting", "start_round", "start_signatures",
    "start_upkeep",
]  # fmt: skip
