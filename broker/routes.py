"""Where each command goes. The sender looks here and never imports an actor.

Queues are named by subject, so that RabbitMQ's management UI tells the story; the version suffix
is there because a queue's arguments cannot be changed later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from domain import commands as c

QUEUE_VERSION = "v1"


@dataclass(frozen=True)
class Route:
    """queue: where to publish. actor: the Dramatiq actor's name.

    durable: survives a restart of the broker and is publisher-confirmed.
    retries: tries after the first; min and max back-off in milliseconds, doubled with jitter.
    limit_bytes: largest envelope.
    """

    queue: str
    actor: str
    durable: bool = True
    retries: int = 8
    min_backoff_ms: int = 200
    max_backoff_ms: int = 30_000
    limit_bytes: int = 2_097_152


@dataclass(frozen=True)
class Queue:
    """meaning: one sentence for the operator, printed by `make up` and listed in docs/operations.md."""

    name: str
    durable: bool
    meaning: str


def _queue(subject: str) -> str:
    return f"{subject}.{QUEUE_VERSION}"


QUEUES = (
    Queue(_queue("sites"), True, "organisations, accounts, tokens, enrolments, sites and their keys"),
    Queue(_queue("heartbeats"), False, "packed heartbeats of all sites; transient, oldest dropped first"),
    Queue(_queue("projects"), True, "projects and memberships"),
    Queue(_queue("runs"), True, "runs, rounds and the sites' reports on their seats"),
    Queue(_queue("artifacts"), True, "declared, completed, deleted and expired artifacts; never their bytes"),
    Queue(_queue("messages"), True, "messages between sites, acknowledgements, logs of runs, expiry"),
)

_SUBJECTS: dict[str, tuple[type[c.Command], ...]] = {
    "sites": (
        c.CreateOrganisation,
        c.CreateAccount,
        c.DisableAccount,
        c.IssueToken,
        c.RevokeToken,
        c.CreateEnrolment,
        c.EnrolSite,
        c.UpdateSite,
        c.RetireSite,
        c.PutSiteKey,
        c.RevokeSiteKey,
        c.ReportConflict,
        c.RecoverSite,
        c.ChangeHistory,
        c.RevokeAgain,
        c.MarkSitesSilent,
        c.MarkSitesReturned,
    ),
    "heartbeats": (c.RecordHeartbeats,),
    "projects": (c.CreateProject, c.UpdateProject, c.ArchiveProject, c.PutMember, c.RemoveMember),
    "runs": (
        c.StartRun,
        c.BeginRun,
        c.StopRun,
        c.RestartRun,
        c.ReportSeat,
        c.ReportAggregated,
        c.ReportMissingReceipt,
        c.DropSeats,
        c.PassDeadline,
        c.EndRestored,
    ),
    "artifacts": (c.DeclareArtifact, c.CompleteArtifact, c.DeleteArtifact, c.ExpireArtifacts),
    "messages": (c.PostMessages, c.AcknowledgeInbox, c.WriteLog, c.ExpireMessages, c.ForgetHistory),
}


def _actor(kind: type[c.Command]) -> str:
    return str(kind.__struct_config__.tag)


ROUTES: dict[type[c.Command], Route] = {
    kind: Route(
        queue=_queue(subject),
        actor=_actor(kind),
        durable=subject != "heartbeats",
        retries=0 if subject == "heartbeats" else 8,
    )
    for subject, kinds in _SUBJECTS.items()
    for kind in kinds
}


def route_of(command: c.Command) -> Route:
    """The route of a command; KeyError would be a command without one, which a test rules out."""
    return ROUTES[type(command)]


def every_command() -> tuple[type[c.Command], ...]:
    """All command classes, in the order of `AnyCommand`."""
    return tuple(get_args(c.AnyCommand))
