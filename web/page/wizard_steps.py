"""The steps from the description of a project to the project: what each asks for, what is wrong with what was typed,
and where one goes next.

What was typed is carried from step to step in the form itself, as text, until it is sent as the body of the API's
`create_project`. So there is nothing to keep for who goes away, and the browser's way back works. Each field is checked
as that call checks it: by the types of its body, and tasks by the very rules of the decision.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from domain.decisions.draft import Refused as NotDecided
from domain.decisions.projects import check_tasks
from domain.values import Best, Contract, Infrastructure, StopEarly, TaskSpec
from fedyard.look.forms import Form, is_place
from fedyard.wire.parameters import check_written
from web.api.projects import NewProject, NewTask
from web.http.parsing import malformed
from web.http.texts import NAMES, PROSE, fault_of_name, fault_of_prose
from web.page.plain import in_words

Step: TypeAlias = Literal["about", "tasks", "contract", "people", "review"]
STEPS: tuple[Step, ...] = ("about", "tasks", "contract", "people", "review")
TITLES: Mapping[Step, str] = {
    "about": "What it is about",
    "tasks": "What is trained",
    "contract": "What a round needs",
    "people": "Who takes part",
    "review": "Look at it once more",
}
FIELDS: Mapping[Step, tuple[str, ...]] = {
    "about": ("name", "description", "data_format", "coordinator_site_id"),
    "tasks": ("tasks",),
    "contract": ("contract",),
    "people": ("joining", "sealed", "max_live_runs", "client_image", "infrastructure", "invite"),
    "review": (),
}
TASK_FIELDS = ("name", "model", "rounds", "parameters", "who", "after", "aggregate", "initial", "score_every")
RULES: Mapping[str, type[msgspec.Struct]] = {"best": Best, "stop_early": StopEarly}
"""What a task may say of a metric of its rounds; where none is named, nothing is said."""
WITHOUT = "-"
"""Typed for the tasks that one comes after: none."""
MAX_TASKS = 100
MAX_INVITED = 200
_IN_TASK = re.compile(r"\$\[(\d+)\]\.(\w+)")
_PATTERNS: Mapping[str, str] = {
    "name": "no control characters, and no space at either end",
    "model": "no control characters, and no space at either end",
    "client_image": "no spaces",
    "coordinator_image": "no spaces",
    "selector_image": "no spaces",
    "tasks.name": "small letters, digits and _ . - alone, beginning with a letter; 64 at most",
    "after": "names of tasks, with commas between them",
    "metric": "no control characters",
    "where": "hub, a cluster that the hub's settings name, or site:<id>",
}


def first_form() -> Form:
    """What an empty wizard begins with: the API's own defaults, and one task."""
    contract = msgspec.to_builtins(Contract())
    return Form.of(
        joining="approval",
        sealed="required",
        max_live_runs=1,
        **{f"contract.{name}": _typed(value) for name, value in contract.items()},
        **_blank_task(0),
    )


def _typed(value: object) -> str:
    """As a person types it: a whole number without its point."""
    return f"{value:g}" if isinstance(value, float) and value == int(value) else str(value)


def _blank_task(place: int) -> dict[str, str]:
    given = {"name": f"train{place + 1 if place else ''}", "rounds": "1", "who": "all", "aggregate": "true"}
    fields = [*TASK_FIELDS, *(f"{rule}.{name}" for rule, kind in RULES.items() for name in _names(kind))]
    return {f"tasks.{place}.{name}": given.get(name, "") for name in fields}


def places(form: Form) -> list[int]:
    """Of the tasks that were typed, in their order."""
    found = {name.split(".")[1] for name in form.values if name.startswith("tasks.")}
    return sorted({int(place) for place in found if is_place(place)})[:MAX_TASKS]


def step_of(field: str) -> Step:
    """Where a field is asked for. What the API says of a field that no step has is said at the end."""
    steps = field.removeprefix("body.").split(".")
    if steps[0] == "tasks" and "contract" in steps:
        return "contract"
    return next((step for step in STEPS if steps[0] in FIELDS[step]), "review")


def field_of(path: str) -> str:
    """The form's name of a field of the body: of all tasks the contract is typed once."""
    steps = path.split(".")
    return ".".join(steps[steps.index("contract") :]) if steps[0] == "tasks" and "contract" in steps else path


@dataclass(frozen=True)
class Moved:
    """Where one is now. create: everything is as it has to be, and the project shall be made."""

    step: Step
    form: Form
    create: bool = False


def moved(form: Form, step: Step, go: str) -> Moved:
    """go: `next`, `back`, `to.<step>`, `add` or `remove.<place>` (a task), `create`. What is wrong keeps one there."""
    verb, _, rest = go.partition(".")
    match verb:
        case "add":
            return Moved(step, _with_task(form))
        case "remove":
            return Moved(step, _without_task(form, rest))
        case "back":
            return Moved(STEPS[max(0, STEPS.index(step) - 1)], form)
        case "to":
            return Moved(next((one for one in STEPS if one == rest), step), form)
        case "create":
            return _checked_through(form)
        case _:
            flaws = flaws_of(form, step)
            if flaws:
                return Moved(step, Form(form.values, flaws))
            return Moved(STEPS[min(len(STEPS) - 1, STEPS.index(step) + 1)], form)


def _checked_through(form: Form) -> Moved:
    for step in STEPS:
        flaws = flaws_of(form, step)
        if flaws:
            return Moved(step, Form(form.values, flaws))
    return Moved("review", form, create=True)


def _with_task(form: Form) -> Form:
    taken = places(form)
    if len(taken) >= MAX_TASKS:
        return form.with_error("tasks", f"a project has {MAX_TASKS} tasks at most")
    place = max(taken, default=-1) + 1
    return Form({**form.values, **Form.of(**_blank_task(place)).values}, form.errors)


def _without_task(form: Form, place: str) -> Form:
    """The last one stays: a project has a task."""
    if len(places(form)) < 2:
        return form
    return Form({name: value for name, value in form.values.items() if not name.startswith(f"tasks.{place}.")})


def flaws_of(form: Form, step: Step) -> dict[str, str]:
    """What the API would say of the fields of a step, by field."""
    match step:
        case "about":
            return _flaws(form, NewProject, FIELDS["about"], "", also=("coordinator_site_id",))
        case "tasks":
            return _flaws_of_tasks(form)
        case "contract":
            return _flaws(form, Contract, _names(Contract), "contract.") or _flaws_together(form)
        case "people":
            plain = ("joining", "sealed", "max_live_runs", "client_image")
            return _flaws(form, NewProject, plain, "") | _flaws_of_infrastructure(form)
        case "review":
            return _flaws_together(form)


def body_of(form: Form) -> dict[str, Any]:
    """The body of `create_project`, its values as they were typed. Raises `ValueError` for parameters that are no
    JSON: they were checked before."""
    body = form.body("name", "description", "data_format", "coordinator_site_id", "joining", "sealed")
    body |= form.body("max_live_runs", "client_image")
    contract = form.body("contract").get("contract", {})
    body["tasks"] = [{**_task_of(form, place), "contract": contract} for place in places(form)]
    if form.value("infrastructure.coordinator_image") or form.value("infrastructure.selector_image"):
        body["infrastructure"] = form.body("infrastructure")["infrastructure"]
    return body


def invited(form: Form) -> list[str]:
    """The ids of the sites that shall be invited once the project is there."""
    return list(dict.fromkeys(one for one in form.all("invite") if one))[:MAX_INVITED]


def tasks_of(form: Form) -> list[TaskSpec]:
    """The tasks as they would be kept. Raises `ValueError` where something is wrong with them."""
    return list[TaskSpec](msgspec.convert(body_of(form)["tasks"], list[NewTask], strict=False))


def _task_of(form: Form, place: int) -> dict[str, Any]:
    said = {name: form.value(f"tasks.{place}.{name}").strip() for name in TASK_FIELDS}
    task: dict[str, Any] = {
        name: said[name] for name in ("name", "model", "rounds", "who", "score_every") if said[name]
    }
    task["aggregate"] = said["aggregate"] == "true"
    if said["initial"] == "true":
        task["initial"] = True
    task |= {name: rule for name in RULES if "metric" in (rule := _rule_of(form, place, name))}
    if said["parameters"]:
        task["parameters"] = _parameters(said["parameters"])
    if said["after"]:
        task["after"] = _after(said["after"])
    return task


def _rule_of(form: Form, place: int, rule: str) -> dict[str, str]:
    """What is said of one of `RULES`; what is left empty is as the API has it."""
    said = {name: form.value(f"tasks.{place}.{rule}.{name}").strip() for name in _names(RULES[rule])}
    return {name: value for name, value in said.items() if value}


def _after(said: str) -> list[str]:
    return [] if said == WITHOUT else [name.strip() for name in said.split(",") if name.strip()]


def _parameters(text: str) -> dict[str, object]:
    """Raises `ValueError` with what is wrong, never with what was typed."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise ValueError('write them as JSON, like {"learning_rate": 0.1}') from None
    if not isinstance(found, dict):
        raise ValueError('write an object, like {"learning_rate": 0.1}')  # noqa: TRY004 - a value, not a type of ours
    check_written(found)
    return found


def _names(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(kind))


def _flaws(
    form: Form,
    kind: type[msgspec.Struct],
    names: Iterable[str],
    prefix: str,
    *,
    also: Sequence[str] = (),
    patterns: str = "",
) -> dict[str, str]:
    """Each of these fields by its own type. also: fields that are needed although the body may leave them out."""
    types = {field.name: field for field in msgspec.structs.fields(kind)}
    found = {}
    for name in names:
        field, text = types[name], form.value(f"{prefix}{name}")
        if not text.strip():
            if field.required or name in also:
                found[f"{prefix}{name}"] = "it is needed"
            continue
        flaw = flaw_of(field.type, name, text, patterns)
        if flaw:
            found[f"{prefix}{name}"] = flaw
    return found


def flaw_of(kind: Any, name: str, text: str, patterns: str = "") -> str:
    """What the API would say of one value; empty if it would take it. patterns: names the field where its own name
    does not say which rule it has."""
    try:
        msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        hint = _PATTERNS.get(patterns or name, "")
        if "regex" in str(error) and hint:
            return hint
        return in_words(malformed("", error, kind).detail.removeprefix(": "))
    fault = fault_of_name(text) if name in NAMES else fault_of_prose(text) if name in PROSE else None
    return fault or ""


def _flaws_of_tasks(form: Form) -> dict[str, str]:
    found: dict[str, str] = {}
    for place in places(form):
        prefix = f"tasks.{place}."
        found |= _flaws(form, NewTask, ("name",), prefix, patterns="tasks.name")
        found |= _flaws(form, NewTask, ("model", "rounds", "who", "score_every"), prefix)
        for rule, kind in RULES.items():
            if _rule_of(form, place, rule).keys() - {"mode"}:
                found |= _flaws(form, kind, _names(kind), f"{prefix}{rule}.")
        try:
            _parameters(form.value(f"{prefix}parameters").strip() or "{}")
        except ValueError as error:
            found[f"{prefix}parameters"] = str(error)
    return found or _flaws_together(form)


def _flaws_of_infrastructure(form: Form) -> dict[str, str]:
    """Both images or none."""
    said = form.body("infrastructure").get("infrastructure", {})
    if not said.keys() & {"coordinator_image", "selector_image"}:
        return {}
    names = ("coordinator_image", "selector_image", "selectors", "where")
    return _flaws(form, Infrastructure, names, "infrastructure.")


def _flaws_together(form: Form) -> dict[str, str]:
    """What is wrong with the tasks as a whole, by the rules of the decision."""
    try:
        check_tasks(tasks_of(form))
    except NotDecided as refused:
        return {_place_of(form, refused.detail): refused.detail}
    except msgspec.ValidationError as error:
        said = malformed("", error, list[NewTask]).detail.removeprefix(": ")
        at = _IN_TASK.search(said)
        if at is None:
            return {"tasks": said}
        flaw = _PATTERNS[at[2]] if "regex" in said and at[2] in _PATTERNS else said.replace(f" - at `{at[0]}", "`")
        return {f"tasks.{places(form)[int(at[1])]}.{at[2]}": flaw}
    return {}


def _place_of(form: Form, detail: str) -> str:
    """The field that such a sentence is about."""
    if "quorum" in detail:
        return "contract.quorum"
    if "a sample of" in detail:
        return "contract.sample"
    rule = re.search(r": (best|stop_early) names | leave (initial|best|stop_early|score_every) out", detail)
    named = [place for place in places(form) if repr(form.value(f"tasks.{place}.name").strip()) in detail]
    if not named or "circle" in detail:
        return "tasks"
    if rule is not None:
        field = rule[1] or rule[2]
        return f"tasks.{named[-1]}.{field}{'.metric' if field in RULES else ''}"
    return f"tasks.{named[-1]}.{'name' if 'named' in detail else 'after'}"
