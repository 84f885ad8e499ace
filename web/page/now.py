"""Now: one sentence, what needs somebody, and for who runs or audits the network how the hub itself does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
from flask import Response

from domain.values import Micros
from fedyard.look.filters import span
from fedyard.wire.plurals import counted
from fedyard.wire.times import SECOND
from storage.views import projects, runs, vitals
from storage.views.concerns import STAND_BY_SHOWN, Concern, ConcernKind
from storage.views.sight import Paging, sees_everything
from storage.views.vitals import Curve, Vitals
from storage.vitals import Sampled
from web.api.concerns import concerns_of
from web.http.calls import Call
from web.page.rendering import HTML, WHERE, Shown, page, part, shows

RENEWED_EVERY_S = 15
FRESH_S = 5
"""How long what was drawn for one is shown to others."""
OLD: Micros = 60 * SECOND
"""What was read longer ago is not shown as if it were so now."""
NOT_YET = "not sampled yet"
CURVE_POINTS = 120
LIVE_SHOWN = 200
RUNS_SHOWN = 10
"""Live runs, the newest; the page of runs has all."""
SPANS: Mapping[int, str] = {3_600: "hour", 21_600: "six hours", 86_400: "day"}


class NowQuery(Shown, frozen=True):
    """span_s: how far back the curves go. wait: of the part that renews itself."""

    span_s: Annotated[int, msgspec.Meta(ge=60, le=86_400)] = 3_600


@dataclass(frozen=True)
class Drawn:
    """Curves that are drawn together. names: of the columns, first the axis; rows: figures as text, "" for none."""

    id: str
    title: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]


def now(call: Call) -> Response:
    return page(call, "now/now.html", **_facts(call))


def live(call: Call) -> Response:
    """The same, a little later; drawn once for all who may see the same."""
    web, subject = call.web, call.caller.subject
    web.watchers.until(("hub", "now"), RENEWED_EVERY_S, lambda: None, RENEWED_EVERY_S, by=call.waiter)
    viewer = "everything" if sees_everything(subject) else f"{subject.role} of {subject.organisation_id}"
    key, version = ("page of now", f"{viewer}, {call.query.span_s}"), web.hub.clock.now() // (FRESH_S * SECOND)
    kept = web.responses.get(key, version)
    if kept is not None:
        return Response(kept, content_type=HTML)
    response = part(call, "now/live.html", **_facts(call))
    web.responses.put(key, version, response.get_data())
    return response


def _facts(call: Call) -> dict[str, Any]:
    web, subject, time = call.web, call.caller.subject, call.web.hub.clock.now()
    found = concerns_of(call).items
    going = runs.runs(
        web.database, subject, Paging(LIVE_SHOWN), state=None, project=None, live=True, newest_first=True
    ).items
    operates = sees_everything(subject)
    how = vitals.vitals(web.database, time, call.query.span_s, CURVE_POINTS) if operates else None
    return {
        "sentence": sentence(len(going), found, time, more=len(going) == LIVE_SHOWN),
        "runs": going[:RUNS_SHOWN],
        "more_runs": len(going) > RUNS_SHOWN,
        "names": projects.names_of(web.database, subject, {one.project_id for one in going[:RUNS_SHOWN]}),
        "concerns": [(one, where(one)) for one in found],
        "processes": vitals.processes(web.database, time).items if operates else [],
        "vitals": how,
        "drawn": [] if how is None else drawn(how, time),
        "figures": figures(how, time),
        "span_s": call.query.span_s,
        "spans": SPANS,
        "operates": operates,
        "live_src": f"{WHERE}/now/live?span_s={call.query.span_s}",
    }


def sentence(live_runs: int, found: Sequence[Concern], time: Micros, *, more: bool = False) -> str:
    """What is the matter, in one: "2 runs live; 1 waits for east since 14 min; everything else is well"."""
    said = [
        f"{live_runs} runs or more live"
        if more
        else counted(live_runs, "run") + " live"
        if live_runs
        else "No run is live"
    ]
    said += [_briefly(one, time) for one in found[:2]]
    left = len(found) - 2
    if not found:
        said.append("everything is well")
    elif left > 0:
        said.append(f"{left} more {'needs' if left == 1 else 'need'} somebody")
    else:
        said.append("everything else is well")
    return "; ".join(said) + "."


_BRIEF: Mapping[ConcernKind, str] = {
    ConcernKind.PROCESS: "no {name} reports",
    ConcernKind.PART: "{name} {is} down",
    ConcernKind.VERSION: "processes run several {name}",
    ConcernKind.CLOCK: "{name} are off",
    ConcernKind.DISK: "the disk of the {name} is nearly full",
    ConcernKind.OUTBOX: "the {name} is not published{since}",
    ConcernKind.BACKUP: "the {name} is out of date",
    ConcernKind.DEAD_LETTERS: "dead letters lie in {name}",
    ConcernKind.STREAM: "something is wrong with the streams of {name}",
    ConcernKind.QUARANTINE: "records of {name} lie in quarantine",
    ConcernKind.RUN_WAITS: "{name} waits for {sites}{since}",
    ConcernKind.APPROVAL: "{name} waits to be approved at {sites}",
    ConcernKind.RUN_FAILED: "{name} failed",
    ConcernKind.SITE_SILENT: "{name} is silent{since}",
    ConcernKind.SITE_VERSION: "the version of {name} does not fit",
    ConcernKind.JOIN_REQUEST: "somebody asks to join {name}",
    ConcernKind.WORKLOAD_FAILED: "workload {name} failed",
    ConcernKind.WORKLOAD_WAITS: "workload {name} does not start",
    ConcernKind.WEBHOOK: "the webhook at {name} fails{since}",
}


def _briefly(one: Concern, time: Micros) -> str:
    if one.name == STAND_BY_SHOWN:
        return "a stand-by process is silent"
    since = "" if one.since is None else f" since {span((time - _micros(one.since)) // (60 * SECOND) * 60)}"
    verb = "are" if one.name.endswith("s") else "is"
    return _BRIEF[one.kind].format(name=one.name, sites=", ".join(one.waits_for), since=since, **{"is": verb})


def where(one: Concern) -> str:
    """The page on which one does something about it; "" where there is none."""
    match one.kind:
        case ConcernKind.RUN_WAITS | ConcernKind.APPROVAL | ConcernKind.RUN_FAILED:
            return f"{WHERE}/runs/{one.run_id}"
        case ConcernKind.SITE_SILENT | ConcernKind.SITE_VERSION:
            return f"{WHERE}/sites/{one.site_id}"
        case ConcernKind.JOIN_REQUEST:
            return f"{WHERE}/projects/{one.project_id}"
        case ConcernKind.WORKLOAD_FAILED | ConcernKind.WORKLOAD_WAITS:
            return f"{WHERE}/workloads/{one.workload_id}"
        case ConcernKind.WEBHOOK:
            return f"{WHERE}/webhooks/{one.webhook_id}"
        case ConcernKind.DEAD_LETTERS:
            return f"{WHERE}/dead-letters?queue={one.name}"
        case ConcernKind.QUARANTINE | ConcernKind.STREAM:
            return f"{WHERE}/streams"
        case _:
            return ""


@dataclass(frozen=True)
class Figure:
    name: str
    value: str
    tone: str = ""
    more: str = ""


def figures(how: Vitals | None, time: Micros) -> list[Figure]:
    """The newest sample of each curve, and the queues. What was read a while ago says when: it is no figure of now."""
    if how is None:
        return []
    ends = {curve.name: curve.points[-1] for curve in how.curves if curve.points}
    ready, dead = sum(one.ready for one in how.queues), sum(one.dead for one in how.queues)
    counted_at = min((_micros(one.read_at) for one in how.queues), default=None)

    def sampled(name: str, of: Sampled, words: Callable[[float], str], *, above: float | None = None) -> Figure:
        if of not in ends:
            return Figure(name, NOT_YET)
        value, at = ends[of].value, _micros(ends[of].at)
        missed = of in (Sampled.DECIDED, Sampled.OUTBOX_AGE)  # others have samples only while something is decided
        tone = "" if above is None else "warns" if value > above else "good"
        return _aged(Figure(name, words(value), tone), at, time, "warns" if missed else "")

    return [
        sampled("Decided", Sampled.DECIDED, "{:.1f} a second".format),
        sampled("Wait in the queue, half of them", Sampled.WAIT_P50, span),
        sampled("Wait in the queue, 99 of 100", Sampled.WAIT_P99, span, above=5.0),
        sampled("Oldest in the outbox", Sampled.OUTBOX_AGE, span, above=30.0),
        *(
            [Figure("Ready in queues", NOT_YET), Figure("Dead letters", NOT_YET)]
            if counted_at is None
            else [
                _aged(Figure("Ready in queues", f"{ready:,}"), counted_at, time, "warns"),
                _aged(Figure("Dead letters", f"{dead:,}", "bad" if dead else "good"), counted_at, time, "warns"),
            ]
        ),
    ]


def _aged(figure: Figure, at: Micros, time: Micros, tone: str) -> Figure:
    """tone: of what is not read any more."""
    if time - at <= OLD:
        return figure
    return dataclasses.replace(figure, tone=tone, more=f"{span((time - at) // SECOND)} ago")


def drawn(how: Vitals, time: Micros) -> list[Drawn]:
    """Three drawings, each with minutes before now as its axis."""
    of = {curve.name: curve for curve in how.curves}
    return [
        _drawn("decided", "Commands decided per second", {"decided per second": of[Sampled.DECIDED]}, time),
        _drawn(
            "waits",
            "Wait in the queue, in seconds",
            {"half of them (p50)": of[Sampled.WAIT_P50], "99 of 100 (p99)": of[Sampled.WAIT_P99]},
            time,
        ),
        _drawn("outbox", "Age of the outbox, in seconds", {"oldest follow-up": of[Sampled.OUTBOX_AGE]}, time),
    ]


def _drawn(ident: str, title: str, curves: Mapping[str, Curve], time: Micros) -> Drawn:
    values = {name: {point.at: point.value for point in curve.points} for name, curve in curves.items()}
    times = sorted({at for those in values.values() for at in those})
    rows = [
        [f"{(_micros(at) - time) / (60 * SECOND):.2f}"]
        + [f"{those[at]:.6g}" if at in those else "" for those in values.values()]
        for at in times
    ]
    return Drawn(ident, title, ["minutes from now", *values], rows)


def _micros(text: str) -> Micros:
    return round(datetime.fromisoformat(text).timestamp() * SECOND)


OPERATIONS = (
    shows("now", "page_now", "What goes on, and what needs somebody", now, query=NowQuery),
    shows("now/live", "page_now_live", "The same, as it changes", live, query=NowQuery, long=True),
)
