"""The way in of an attempt: derived, scoped, kept by reference, and left out of logs."""

from __future__ import annotations

import re

import pytest

from domain import records as r
from domain.ids import derive
from domain.streams.door import SECRET, apart, attempt_of, numbers_in, secret_of, unsaid, with_door
from domain.workloads import wanted_of
from tests.domain.scenes import row

KEY, WORKLOAD = bytes(range(32)), derive("a workload")


def test_it_says_whose_it_is_and_is_another_for_each_attempt_and_key() -> None:
    secret = secret_of(KEY, WORKLOAD, 3)
    assert re.fullmatch(SECRET, secret)
    assert attempt_of(secret) == (WORKLOAD, 3)
    others = [secret_of(KEY, WORKLOAD, 4), secret_of(KEY, derive("another"), 3), secret_of(bytes(32), WORKLOAD, 3)]
    assert len({secret, *others}) == 4
    assert "results" not in secret


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("{door}/results/7", {7}),
        ("{door}/results/model/8", {8}),
        ("['{door}/results/7', '{door}/results/12']", {7, 12}),
        ("http://elsewhere/results/7", set()),
        ("{door}/results/07", set()),
        ("{door}/results/12345678901234567", set()),
    ],
)
def test_it_is_good_for_the_results_that_a_workload_is_told_of(text: str, numbers: set[int]) -> None:
    assert numbers_in({"RESULT_URL": text, "BATCH": "9"}) == numbers


def test_what_it_stands_in_is_kept_by_reference() -> None:
    environment = {"RESULT_URL": "{door}/results/7", "BATCH": "9"}
    assert apart(environment) == ({"BATCH": "9"}, {"RESULT_URL": "{door}/results/7"})


@pytest.mark.parametrize(("purpose", "kept"), [("training", True), ("inference", True), ("", False)])
def test_only_what_is_for_streams_gets_one(purpose: str, kept: bool) -> None:
    """Somebody else's variable may read as it likes."""
    spec = b'{"kind": "job", "image": "i", "environment": {"RESULT_URL": "{door}/results/7"}}'.decode()
    workload = row(r.Workload, id=WORKLOAD, project_id=derive("p"), kind="job", spec_json=spec, state="wanted",
                   replicas=1, purpose=purpose)  # fmt: skip
    attempt = row(r.WorkloadAttempt, workload_id=WORKLOAD, attempt=1, state="wanted")
    wanted = wanted_of(workload, attempt, derive("owner")).spec
    assert ("RESULT_URL" in wanted.secrets, "RESULT_URL" in wanted.environment) == (kept, not kept)
    made = with_door(wanted, KEY, "http://hub/")
    url = f"http://hub/w/{secret_of(KEY, WORKLOAD, 1)}/results/7" if kept else "{door}/results/7"
    assert (made.secrets if kept else made.environment)["RESULT_URL"] == url


def test_logs_say_none() -> None:
    secret = secret_of(KEY, WORKLOAD, 1).encode()
    log = b"URL http://hub/w/" + secret + b"/results/7\nand /w/" + secret[:40]
    told = unsaid(log)
    assert told == b"URL http://hub/w/" + b"*" * 104 + b"/results/7\nand /w/" + b"*" * 40
    assert unsaid(b"/w/short and no way") == b"/w/short and no way"
