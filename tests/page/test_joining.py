"""How a site takes part, and what a first run needs, as tables of examples."""

from __future__ import annotations

from typing import Any

import pytest

from domain.ids import derive
from domain.values import TaskSpec
from storage.views.resources import Project
from web.page.joining import Check, Seats, checklist, own_agent, with_agent, with_client_image

WORDS = "a b c d e f g h i j k l"


def project(**fields: Any) -> Project:
    plain: dict[str, Any] = {
        "id": derive("project"),
        "organisation_id": derive("organisation"),
        "coordinator_site_id": derive("coordinator"),
        "coordinator_name": "oslo",
        "coordinator_identity_key": "",
        "name": "Sepsis; rm -rf",
        "description": "",
        "data_format": "",
        "client_image": "",
        "joining": "approval",
        "max_live_runs": 1,
        "tasks": [TaskSpec(name="train", model="logistic")],
        "last_run_number": 0,
        "created_at": "2026-01-01T00:00:00.000000Z",
        "archived_at": None,
        "version": 1,
        "sealed": "required",
        "infrastructure": None,
    }
    return Project(**{**plain, **fields})


@pytest.mark.parametrize(
    ("joining", "last"),
    [
        ("open", "That is all: the site takes part from the next task on that starts."),
        ("approval", "The project's coordinator sees the request, and lets the site in or not."),
        ("invitation", "It is joined by invitation: the coordinator invites the site first, by its name or id."),
    ],
)
def test_a_site_with_an_agent_consents_at_home(joining: str, last: str) -> None:
    """The line names the project by its id: a name is what somebody typed."""
    steps = with_agent(project(joining=joining), WORDS)
    assert [step.command for step in steps] == [
        "",
        f"fedyard project join {derive('project')} --coordinator {WORDS}",
        "",
    ]
    assert steps[-1].sentence == last


def test_models_of_the_projects_own_have_to_be_allowed() -> None:
    tasks = [TaskSpec(name=name, model=model) for name, model in (("a", 'm:"A'), ("b", "m:B"), ("c", "logistic"))]
    steps = with_agent(project(tasks=tasks), WORDS)
    assert steps[1].command == 'allow = ["m:\\"A", "m:B"]'
    assert "2 models" in steps[1].sentence


def test_a_client_image_is_run_as_the_hub_says() -> None:
    lines = [step.command for step in with_client_image(project(), "docker run it")]
    assert lines == [
        f"fedyard project joining {derive('project')} --config config.yaml --token",
        "docker run it",
        f"fedyard project ready {derive('project')}",
    ]


@pytest.mark.parametrize(
    ("seats", "people", "fields", "done"),
    [
        ([Seats("train", 3, 3)], (2, 0, 0), {}, [True]),
        ([Seats("train", 1, 1)], (0, 0, 0), {}, [True, False]),
        ([Seats("train", 0, 1)], (1, 0, 0), {}, [False]),
        ([Seats("train", 0, 0)], (1, 0, 0), {}, [False]),
        ([Seats("train", 2, 2), Seats("check", 1, 2)], (1, 1, 2), {}, [True, False, False, False]),
        ([Seats("train", 2, 2)], (1, 0, 0), {"archived_at": "2026-01-02T00:00:00.000000Z"}, [True, False]),
    ],
)
def test_what_a_first_run_needs(
    seats: list[Seats], people: tuple[int, int, int], fields: dict[str, Any], done: list[bool]
) -> None:
    participants, invited, asking = people
    found = checklist(project(**fields), seats, participants=participants, invited=invited, asking=asking)
    assert [one.done for one in found] == done
    assert all(one.done or one.remedy for one in found)


def test_the_coordinators_own_agent_has_to_be_told_as_well() -> None:
    """Its consent is kept at the site: the hub can only say how it is given."""
    step = own_agent(project())
    assert step.command == f"fedyard project join {derive('project')}"
    assert "oslo" in step.sentence


def test_a_check_says_the_numbers() -> None:
    assert checklist(project(), [Seats("train", 1, 2)], participants=1, invited=1, asking=1) == [
        Check(
            False,
            "Task train would have 1 seat, and a round of it needs 2.",
            "Let more sites join, or change its quorum.",
        ),
        Check(False, "1 site asks to join.", "Let them in, or decline."),
        Check(
            False,
            "1 invited site has not answered.",
            "A site accepts at its own machine; a run may start before, and it takes part in the next task.",
        ),
    ]
