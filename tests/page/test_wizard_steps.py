"""The steps from a description to a project, as tables of examples: what is wrong where, and where one goes next."""

from __future__ import annotations

import re

import msgspec
import pytest

from domain.values import Best, StopEarly
from fedyard.look.forms import Form
from fedyard.tasks.registry import BUILT_IN
from tests.page.walking import typed
from web.api.projects import NewProject
from web.page.rendering import TEMPLATES
from web.page.wizard_steps import STEPS, body_of, field_of, first_form, flaws_of, invited, moved, places, step_of

GOOD = typed(
    {"name": "Sepsis", "coordinator_site_id": "0" * 8 + "-0000-4000-8000-" + "0" * 12, "tasks.0.model": "logistic"}
)

HIDDEN = "holds the character U+202E; line feed and tab are the only ones of its kind"
SLUG = "small letters, digits and _ . - alone, beginning with a letter; 64 at most"
NO_FRACTION = "task 'train': a quorum of 1.5 is no fraction; use at most 1, or quorum_of count"
UNSCORED = "task 'train': best names 'score.auc', which the sites say of a model; set score_every"
NO_SAMPLE = "task 'train': a sample of 1.5 is no fraction; use at most 1, or sample_of count"


@pytest.mark.parametrize(
    ("step", "change", "flaws"),
    [
        ("about", {"name": ""}, {"name": "it is needed"}),
        ("about", {"coordinator_site_id": ""}, {"coordinator_site_id": "it is needed"}),
        ("about", {"name": "p\u0430y"}, {"name": "mixes letters of Cyrillic and Latin"}),
        ("about", {"name": " x"}, {"name": "no control characters, and no space at either end"}),
        ("about", {"description": "a\u202eb"}, {"description": HIDDEN}),
        ("tasks", {"tasks.0.name": "Train"}, {"tasks.0.name": SLUG}),
        (
            "tasks",
            {"tasks.0.model": "", "tasks.0.rounds": "0"},
            {"tasks.0.model": "it is needed", "tasks.0.rounds": "a whole number, 1 or more"},
        ),
        ("tasks", {"tasks.0.rounds": "many"}, {"tasks.0.rounds": "a whole number"}),
        (
            "tasks",
            {"tasks.0.parameters": "[1]"},
            {"tasks.0.parameters": 'write an object, like {"learning_rate": 0.1}'},
        ),
        (
            "tasks",
            {"tasks.0.parameters": "{"},
            {"tasks.0.parameters": 'write them as JSON, like {"learning_rate": 0.1}'},
        ),
        (
            "tasks",
            {"tasks.0.parameters": '{"seed": 36893488147419103232}'},
            {"tasks.0.parameters": "parameters.seed: a whole number beyond 64 bits; send it as text or as a float"},
        ),
        (
            "tasks",
            {"tasks.0.after": "other"},
            {"tasks.0.after": "task 'train' comes after 'other', which is no task of this project"},
        ),
        ("tasks", {"tasks.0.after": "No Name"}, {"tasks.0.after": "names of tasks, with commas between them"}),
        ("contract", {"contract.quorum": "1.5"}, {"contract.quorum": NO_FRACTION}),
        ("contract", {"contract.sample": "1.5"}, {"contract.sample": NO_SAMPLE}),
        ("contract", {"contract.sample_at_least": "0"}, {"contract.sample_at_least": "a whole number, 1 or more"}),
        ("tasks", {"tasks.0.score_every": "-1"}, {"tasks.0.score_every": "a whole number, 0 or more"}),
        ("tasks", {"tasks.0.best.metric": "a\tb"}, {"tasks.0.best.metric": "no control characters"}),
        ("tasks", {"tasks.0.stop_early.patience": "3"}, {"tasks.0.stop_early.metric": "it is needed"}),
        (
            "tasks",
            {"tasks.0.stop_early.metric": "auc", "tasks.0.stop_early.patience": "0", "tasks.0.stop_early.mode": "up"},
            {
                "tasks.0.stop_early.mode": "one of max, min",
                "tasks.0.stop_early.patience": "a whole number, 1 or more",
            },
        ),
        ("tasks", {"tasks.0.best.metric": "score.auc"}, {"tasks.0.best.metric": UNSCORED}),
        (
            "tasks",
            {"tasks.0.aggregate": "", "tasks.0.initial": "true"},
            {"tasks.0.initial": "task 'train' aggregates nothing, so it has no first model: leave initial out"},
        ),
        ("contract", {"contract.quorum": "0"}, {"contract.quorum": "a number above 0"}),
        ("contract", {"contract.train_within_s": "0.5"}, {"contract.train_within_s": "a number, 1 or more"}),
        (
            "contract",
            {"contract.late": "never"},
            {"contract.late": "one of drop, next_round"},
        ),
        ("people", {"max_live_runs": "101"}, {"max_live_runs": "a whole number, 100 at most"}),
        ("people", {"client_image": "a b"}, {"client_image": "no spaces"}),
        ("people", {"infrastructure.coordinator_image": "c:1"}, {"infrastructure.selector_image": "it is needed"}),
    ],
)
def test_what_the_api_would_say_is_said_at_the_field(step: str, change: dict[str, str], flaws: dict[str, str]) -> None:
    form = typed(change, GOOD)
    assert flaws_of(form, step) == flaws
    stayed = moved(form, step, "next")
    assert (stayed.step, dict(stayed.form.errors), stayed.create) == (step, flaws, False)


def test_what_is_wrong_is_found_at_the_end_as_well() -> None:
    """Whoever goes by the links of the last page has passed no step."""
    back = moved(typed({"tasks.0.model": ""}, GOOD), "review", "create")
    assert (back.step, dict(back.form.errors), back.create) == ("tasks", {"tasks.0.model": "it is needed"}, False)
    assert moved(GOOD, "review", "create").create


def test_a_circle_is_said_at_the_tasks() -> None:
    two = moved(GOOD, "tasks", "add").form
    circle = typed({"tasks.0.after": "train2", "tasks.1.model": "m", "tasks.1.after": "train"}, two)
    assert flaws_of(circle, "tasks") == {"tasks": "tasks ['train', 'train2'] wait for each other in a circle; break it"}


@pytest.mark.parametrize(
    ("step", "go", "there"),
    [
        ("about", "next", "tasks"),
        ("tasks", "next", "contract"),
        ("review", "next", "review"),
        ("about", "back", "about"),
        ("contract", "back", "tasks"),
        ("review", "to.about", "about"),
        ("review", "to.nowhere", "review"),
        ("people", "whatever", "review"),
    ],
)
def test_where_one_goes(step: str, go: str, there: str) -> None:
    assert moved(GOOD, step, go).step == there


def test_back_keeps_what_is_wrong_as_it_was_typed() -> None:
    form = typed({"tasks.0.rounds": "many"}, GOOD)
    back = moved(form, "tasks", "back")
    assert (back.step, back.form.value("tasks.0.rounds"), dict(back.form.errors)) == ("about", "many", {})


def test_tasks_are_added_and_taken_away_one_always_stays() -> None:
    two = moved(GOOD, "tasks", "add")
    assert (places(two.form), two.form.value("tasks.1.name"), two.step) == ([0, 1], "train2", "tasks")
    first_gone = moved(two.form, "tasks", "remove.0").form
    assert places(first_gone) == [1]
    assert moved(first_gone, "tasks", "remove.1").form == first_gone


def test_the_body_is_the_apis() -> None:
    form = typed(
        {
            "tasks.0.parameters": '{"learning_rate": 0.1}',
            "contract.quorum": "0.5",
            "tasks.1.name": "validate",
            "tasks.1.model": "auc",
            "tasks.1.after": "-",
            "invite": ["b", "a", "b"],
            "infrastructure.coordinator_image": "c:1",
            "infrastructure.selector_image": "s:1",
            "infrastructure.selectors": "3",
            "_step": "review",
        },
        GOOD,
    )
    made = msgspec.convert(body_of(form), NewProject, strict=False)
    train, validate = made.tasks
    assert (made.name, made.joining, made.sealed, made.max_live_runs) == ("Sepsis", "approval", "required", 1)
    assert (train.name, train.parameters, train.after, train.aggregate) == ("train", {"learning_rate": 0.1}, None, True)
    assert (validate.name, validate.after, validate.aggregate) == ("validate", [], False)
    assert train.contract == validate.contract
    assert train.contract.quorum == 0.5
    assert made.infrastructure is not None
    assert (made.infrastructure.selectors, made.infrastructure.where) == (3, "hub")
    assert invited(form) == ["b", "a"]


def test_rules_of_a_metric_are_said_by_their_metric() -> None:
    form = typed(
        {
            "tasks.0.score_every": "2",
            "tasks.0.initial": "true",
            "tasks.0.best.metric": "score.auc",
            "tasks.0.stop_early.metric": "loss",
            "tasks.0.stop_early.mode": "min",
            "tasks.0.stop_early.patience": "3",
        },
        moved(GOOD, "tasks", "add").form,
    )
    form = typed({"tasks.1.model": "auc", "tasks.1.best.mode": "min", "tasks.1.stop_early.mode": "max"}, form)
    assert flaws_of(form, "tasks") == {}
    train, validate = msgspec.convert(body_of(form), NewProject, strict=False).tasks
    assert (train.initial, train.best, train.stop_early) == (True, Best("score.auc"), StopEarly("loss", "min", 3))
    assert (validate.initial, validate.best, validate.stop_early) == (False, None, None)


def test_what_it_begins_with_is_what_the_api_takes_by_default() -> None:
    made = msgspec.convert(body_of(GOOD), NewProject, strict=False)
    assert made.tasks == msgspec.convert([{"name": "train", "model": "logistic"}], list[type(made.tasks[0])])


@pytest.mark.parametrize(
    ("path", "field", "step"),
    [
        ("name", "name", "about"),
        ("tasks.0.rounds", "tasks.0.rounds", "tasks"),
        ("tasks.3.contract.quorum", "contract.quorum", "contract"),
        ("infrastructure.where", "infrastructure.where", "people"),
        ("", "", "review"),
    ],
)
def test_what_the_api_says_of_a_field_is_said_where_it_is_asked_for(path: str, field: str, step: str) -> None:
    assert (field_of(path), step_of(path)) == (field, step)


def test_every_step_has_a_way_on_for_what_is_well() -> None:
    form, step, seen = GOOD, STEPS[0], []
    while not seen or step != seen[-1]:
        seen.append(step)
        found = moved(form, step, "next")
        form, step = found.form, found.step
    assert tuple(seen) == STEPS
    assert form == GOOD
    assert isinstance(first_form(), Form)


def test_the_model_that_a_step_names_is_one_that_sites_know() -> None:
    text = (TEMPLATES / "wizard" / "step.html").read_text(encoding="utf-8")
    named = re.findall(r"as the sites know it: ([\w, ]+);", text)
    assert [names.split(", ") for names in named] == [[*BUILT_IN]]
