"""Every error of ours has one status; what is not ours to show shows nothing."""

from __future__ import annotations

import json

import pytest

from edxml.errors import TrucError
from edxml.findings import Finding, Place, Severity
from edxml.messages import Language
from gateway.api import faults, problems
from gateway.api.problems import language_of, problem_of
from gateway.exchange.submission import PacketRefusal
from gateway.model import errors

CASES: list[tuple[TrucError, int]] = [
    (errors.Unauthenticated("identity.no_token"), 401),
    (errors.Forbidden("identity.foreign_agency"), 403),
    (errors.NotFound("inbox.unknown_item"), 404),
    (errors.Conflict("inbox.not_fetched"), 409),
    (errors.Gone("inbox.gone", state="withdrawn"), 410),
    (errors.TooLarge("submission.too_large", limit=5), 413),
    (errors.BadRequest("api.empty"), 400),
    (faults.bad_query("limit", "not_whole", "x"), 400),
    (problems.TooSlow("api.too_slow"), 408),
    (problems.NotAllowed("api.no_method", allow="GET"), 405),
    (problems.HeadTooLong("api.head_too_long", limit=5), 431),
    (problems.NotAcceptedKind("api.bad_kind", kind="text/html"), 415),
    (problems.RangeNotSatisfiable("api.bad_range", size=5), 416),
    (PacketRefusal((Finding(code="edxml.empty"),)), 422),
    (errors.DiskReserve(free=1, reserve=2), 507),
    (errors.StoreBusy(seconds=20, why=""), 503),
    (errors.BlobMissing(digest="ab"), 503),
    (problems.ItemDamaged(digest="ab"), 503),
    (problems.ItemMissing(digest="ab"), 503),
]


@pytest.mark.parametrize(("why", "status"), CASES, ids=[type(why).__name__ for why, _ in CASES])
def test_status_and_texts(why: TrucError, status: int) -> None:
    problem = problem_of(why, "yc-1")
    assert problem.status == status
    body = json.loads(problem.body(Language.EN, "yc-1"))
    assert body["title"]
    assert not body["title"].startswith("problem.")
    assert body["vi"] != body["en"] == body["detail"]
    assert body["vi"] != body["code"], "a code without a text"
    assert "{" not in body["vi"], "a placeholder that nobody filled"


def test_every_refusal_of_the_tree_has_a_status_below_500() -> None:
    for kind in errors.Refusal.__subclasses__():
        if kind is not PacketRefusal:
            assert problem_of(kind("x.y"), "1").status < 500, kind


def test_a_stranger_is_500_and_says_nothing() -> None:
    problem = problem_of(ValueError("/srv/secret: password"), "yc-7")
    body = problem.body(Language.VI, "yc-7").decode()
    assert (problem.status, problem.code) == (500, "api.internal")
    assert "secret" not in body
    assert "yc-7" in body


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", Language.VI), ("en", Language.EN), ("vi", Language.VI), ("en-US,en;q=0.9", Language.EN),
        ("vi-VN, en;q=0.8", Language.VI), ("en;q=0.5, vi;q=0.4", Language.EN), ("fr", Language.VI),
        ("*", Language.VI), ("en;q=x", Language.VI), ("en, *;q=0.1", Language.EN),
    ],
)  # fmt: skip
def test_language(header: str, language: Language) -> None:
    assert language_of(header) is language


def test_of_many_findings_the_first_hundred_are_told_errors_before_warnings() -> None:
    warnings = tuple(Finding(code="edxml.empty", severity=Severity.WARNING) for _ in range(150))
    errors_ = tuple(Finding(code="edxml.truncated", place=Place(line=n)) for n in range(1, 61))
    body = json.loads(problem_of(PacketRefusal(warnings + errors_), "1").body(Language.VI, "1"))
    assert (len(body["findings"]), body["findings_total"]) == (100, 210)
    assert [f["line"] for f in body["findings"][:60]] == list(range(1, 61))
    few = json.loads(problem_of(PacketRefusal(warnings[:1] + errors_[:1]), "1").body(Language.VI, "1"))
    assert [f["severity"] for f in few["findings"]] == ["warning", "error"], "what fits stays in its order"
    assert few["findings_total"] == 2
    assert "refused for 1 error;" in few["en"], "a warning is no reason"
