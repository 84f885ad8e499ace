"""What the doing actor reports of topics, ranges and records goes to whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from domain import results
from domain import stream_commands as sc
from domain.decisions.access import need_hub
from domain.decisions.draft import Decision, Draft
from domain.decisions.streams import deployments, inference, matching, sendings
from domain.needs import Needs


@dataclass(frozen=True)
class Concerned:
    """Who asked. hears: changes the draft as the report says; a report of an attempt that is over changes nothing."""

    needs: Callable[[sc.ReportStream], Needs]
    hears: Callable[[Draft, sc.ReportStream], None]


CONCERNED: Mapping[sc.Preparation, Concerned] = {
    "training": Concerned(deployments.needs_of_prepared, deployments.prepared),
    "inference": Concerned(inference.needs_of_prepared, inference.prepared),
    "workers": Concerned(matching.needs_of_prepared, matching.prepared),
    "resend": Concerned(sendings.needs_of_sent, sendings.sent),
}


def needs_of_report_stream(command: sc.ReportStream) -> Needs:
    return CONCERNED[command.purpose].needs(command)


def report_stream(draft: Draft, command: sc.ReportStream) -> Decision:
    need_hub(draft.by)
    CONCERNED[command.purpose].hears(draft, command)
    return draft.accept(results.StreamReported(reason=command.reason))
