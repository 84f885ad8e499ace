"""A write, piece by piece; test_straight_path.py and test_waiting.py have it whole."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from msgspec.structs import replace

from config.clock import SystemClock
from domain.commands import CreateOrganisation, Envelope
from domain.ids import HUB, derive
from domain.records import Outcome
from domain.values import Subject
from storage.signals import Decided
from web.http.awaiting import announced
from web.http.writing import (
    SECRET_WAIT_S,
    Asked,
    decided_answer,
    id_of,
    patience_of,
    pending_answer,
    place_for,
    refuse_reuse,
)
from web.live.waiters import Waiters
from web.problems import Refused

ADA, BOB = derive(HUB, "ada"), derive(HUB, "bob")
ASKED = Asked(
    by=Subject(kind="site", id=ADA),
    command=CreateOrganisation(name="Oslo"),
    id=derive(ADA, "key", "k"),
    digest="d" * 64,
    keyed=True,
    patience_s=5.0,
    kept_back=False,
    must_wait=False,
)
OUTCOME = Outcome(
    id=ASKED.id,
    kind="create_organisation",
    subject_kind="site",
    subject_id=ADA,
    state="accepted",
    status=201,
    answer_json='{"id":"7"}',
    digest=ASKED.digest,
    decided_at=1_000_000,
)
DECIDED = Decided(
    id=ASKED.id, state="accepted", status=201, answer_json='{"id":"7"}', digest=ASKED.digest, decided_at=1_000_000
)


def test_a_key_names_the_same_command_for_the_same_caller() -> None:
    assert id_of(ADA, "k", None) == id_of(ADA, "k", None)
    assert len({id_of(ADA, "k", None), id_of(ADA, "l", None), id_of(BOB, "k", None)}) == 3


def test_a_finding_names_its_command_where_the_caller_does_not() -> None:
    assert id_of(ADA, None, "conflict") == id_of(ADA, None, "conflict")
    assert id_of(ADA, "k", "conflict") == id_of(ADA, "k", None)
    assert id_of(ADA, None, "k") != id_of(ADA, "k", None)


def test_a_command_that_nobody_names_is_another_each_time() -> None:
    assert id_of(ADA, None, None) != id_of(ADA, None, None)


@pytest.mark.parametrize(
    ("preferred_s", "must_wait", "patience_s"),
    [(None, False, None), (None, True, SECRET_WAIT_S), (3.0, False, 3.0), (3.0, True, 3.0), (0.0, True, 0.0)],
)
def test_patience_is_the_callers_and_a_secret_waits_by_itself(
    preferred_s: float | None, must_wait: bool, patience_s: float | None
) -> None:
    assert patience_of(preferred_s, must_wait=must_wait) == patience_s


def test_the_envelope_says_who_what_and_whether_somebody_waits() -> None:
    assert ASKED.envelope(7, waited=True) == Envelope(
        id=ASKED.id, at=7, by=ASKED.by, command=ASKED.command, waited=True, digest=ASKED.digest
    )


class TestAPlace:
    def test_is_had_until_the_stack_is_left(self) -> None:
        waiters = Waiters(8, SystemClock())
        with ExitStack() as stack:
            assert place_for(ASKED, waiters, stack) is not None
            assert waiters.open == 1
        assert waiters.open == 0

    @pytest.mark.parametrize("patience_s", [None, 0.0])
    def test_is_none_for_who_does_not_wait(self, patience_s: float | None) -> None:
        waiters = Waiters(8, SystemClock())
        with ExitStack() as stack:
            assert place_for(replace(ASKED, patience_s=patience_s), waiters, stack) is None
        assert waiters.refused == 0

    def test_is_none_where_the_server_stops(self) -> None:
        waiters = Waiters(8, SystemClock())
        waiters.release()
        with ExitStack() as stack:
            assert place_for(ASKED, waiters, stack) is None

    def test_is_done_without_where_all_are_taken_unless_the_answer_is_shown_this_once(self) -> None:
        waiters = Waiters(0, SystemClock(), each=1)
        with ExitStack() as stack:
            assert place_for(ASKED, waiters, stack) is None
            with pytest.raises(Refused) as caught:
                place_for(replace(ASKED, must_wait=True), waiters, stack)
        assert caught.value.problem.status == 503


def test_an_announcement_is_the_outcome_if_it_has_the_answer() -> None:
    envelope = ASKED.envelope(7, waited=True)
    assert announced(envelope, DECIDED) == OUTCOME
    assert announced(envelope, None) is None
    assert announced(envelope, replace(DECIDED, answer_json="")) is None


def test_an_id_that_was_used_for_another_request_is_refused() -> None:
    refuse_reuse(None, "d" * 64)
    refuse_reuse(OUTCOME, "d" * 64)
    with pytest.raises(Refused) as caught:
        refuse_reuse(OUTCOME, "e" * 64)
    assert caught.value.problem.status == 422


def test_what_is_not_decided_says_where_to_look() -> None:
    response = pending_answer("7")
    assert response.status_code == 202
    assert response.get_json() == {"command": {"id": "7", "state": "pending", "href": "/v1/commands/7"}}
    assert response.headers["Location"] == "/v1/commands/7"
    assert response.headers["Fedyard-Command"] == "7"


class TestADecidedAnswer:
    def test_is_what_the_decision_said_and_where_the_new_thing_is(self) -> None:
        response = decided_answer(OUTCOME, "/v1/organisations/{id}", None)
        assert (response.status_code, response.get_data()) == (201, b'{"id":"7"}')
        assert response.headers["Location"] == "/v1/organisations/7"
        assert response.headers["Preference-Applied"] == "wait"

    def test_shows_what_only_this_answer_has(self) -> None:
        assert decided_answer(OUTCOME, None, lambda _: {"token": None}).get_json() == {"id": "7", "token": None}

    def test_is_a_problem_where_the_command_was_rejected(self) -> None:
        rejected = replace(OUTCOME, state="rejected", status=409, answer_json='{"status":409}')
        response = decided_answer(rejected, "/v1/organisations/{id}", lambda _: {"token": None})
        assert (response.status_code, response.content_type) == (409, "application/problem+json")
        assert "Location" not in response.headers
