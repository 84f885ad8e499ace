"""What a request may carry: bodies and queries.

They are made of the commands' own types, so that what is let in is what a decider can read. Only ids are
stricter here: a command's have been checked when it is read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from domain.commands import (
    MOST_HELD,
    MOST_MARKS,
    ArtifactKind,
    Digests,
    Grace,
    Image,
    Joining,
    Key32,
    Mark,
    Metrics,
    Name,
    Piece,
    PublicKey,
    Reason,
    Role,
    Sealed,
    Sha256,
    Signature,
    Size,
    Slug,
    Span,
    TaskSpec,
    Text,
    check_parameters,
)
from domain.states import Report, RunState, SiteState
from web.http.texts import NAMES, PROSE, Unfit, fault_of_name, fault_of_prose

UUID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

Uuid: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^{UUID_PATTERN}(?!\n)$", max_length=36)]
Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Place: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000_000)]
Moment: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000_000)]
"""Microseconds since the epoch."""
Wait: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=30)]
CursorText: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^[0-9]{{1,17}}-{UUID_PATTERN}(?!\n)$", max_length=54)]
Scopes: TypeAlias = Annotated[list[Literal["read", "write"]], msgspec.Meta(min_length=1, max_length=2)]
_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
Payload: TypeAlias = Annotated[
    bytes,
    msgspec.Meta(extra_json_schema={"pattern": _BASE64}),
]
"""Base64 in JSON."""
PieceText: TypeAlias = Annotated[Piece, msgspec.Meta(extra_json_schema={"pattern": _BASE64})]
DigestsText: TypeAlias = Annotated[Digests, msgspec.Meta(extra_json_schema={"pattern": _BASE64})]
PublicKeyText: TypeAlias = Annotated[PublicKey, msgspec.Meta(extra_json_schema={"pattern": "^[A-Za-z0-9+/]{1622}==$"})]
SignatureText: TypeAlias = Annotated[Signature, msgspec.Meta(extra_json_schema={"pattern": "^[A-Za-z0-9+/]{86}==$"})]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request body; its repr shows no content."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            fault_of = fault_of_name if name in NAMES else fault_of_prose if name in PROSE else None
            text = getattr(self, name) if fault_of is not None else None
            if fault_of is not None and isinstance(text, str) and (fault := fault_of(text)):
                raise Unfit(f"`{name}` {fault}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class NewOrganisation(Body, frozen=True):
    name: Name


class NewAccount(Body, frozen=True):
    organisation_id: Uuid
    name: Name
    role: Role
    token_expires_at: Time | None = None
    token_sha256: Sha256 | None = None


class NewToken(Body, frozen=True):
    """Without an owner, a further token for oneself."""

    label: Name
    owner_kind: Literal["account", "site"] | None = None
    owner_id: Uuid | None = None
    scopes: Scopes = msgspec.field(default_factory=lambda: ["read", "write"])
    expires_at: Time | None = None
    sha256: Sha256 | None = None


class NewEnrolment(Body, frozen=True):
    organisation_id: Uuid
    note: Text = ""
    expires_in_s: Span = 86_400.0


class NewSite(Body, frozen=True):
    """identity_key: the site's public Ed25519 key, 32 bytes in base64.

    proof: signature by that key, which shows that the site has it; docs/api.md says over what.
    """

    name: Name
    identity_key: Key32
    proof: SignatureText
    description: Text = ""
    token_sha256: Sha256 | None = None


class SiteChange(Body, frozen=True):
    description: Text


class NewKey(Body, frozen=True):
    """A sealing key. The two times are microseconds since the epoch, as the signature is over them.

    signature: Ed25519 by the site's identity key. grace_s: how long the key before it is taken for.
    """

    public_key: PublicKeyText
    suite: Literal[1]
    created_at: Moment
    expires_at: Moment
    signature: SignatureText
    grace_s: Grace = 604_800.0


class Conflict(Body, frozen=True):
    """SHA-256 of two identity keys: the one that the site has pinned, and the one that it was shown."""

    pinned: Sha256
    seen: Sha256


class Revocation(Body, frozen=True):
    reason: Reason = ""


class Nothing(Body, frozen=True):
    """`{}`, or no body at all."""


class NewTask(TaskSpec, frozen=True, forbid_unknown_fields=True):
    """A task as a caller writes it: ids are checked, and whether its parameters can travel to every site."""

    who: Literal["all", "participants"] | Annotated[list[Uuid], msgspec.Meta(min_length=1, max_length=1000)] = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            check_parameters(self.parameters)
        except ValueError as error:
            raise Unfit(str(error)) from None


Tasks: TypeAlias = Annotated[list[NewTask], msgspec.Meta(min_length=1, max_length=100)]
LiveRuns: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=100)]


class NewProject(Body, frozen=True):
    """coordinator_site_id: left out by a site, which then is the coordinator itself. sealed: must payloads be?"""

    name: Name
    tasks: Tasks
    coordinator_site_id: Uuid | None = None
    description: Text = ""
    data_format: Text = ""
    client_image: Image = ""
    joining: Joining = "approval"
    max_live_runs: LiveRuns = 1
    sealed: Sealed = "required"


class ProjectChange(Body, frozen=True):
    """What is left out (or null) stays."""

    name: Name | None = None
    tasks: Tasks | None = None
    description: Text | None = None
    data_format: Text | None = None
    client_image: Image | None = None
    joining: Joining | None = None
    max_live_runs: LiveRuns | None = None
    sealed: Sealed | None = None


class NewMember(Body, frozen=True):
    notes: Text = ""


class NewRun(Body, frozen=True):
    queue: bool = False
    finish_within_s: Span = 604_800.0


class Stop(Body, frozen=True):
    reason: Reason = ""


class Restart(Body, frozen=True):
    """model_version: of the project's models, to begin with in the task that made it."""

    start_from: Literal["reached", "start"] = "reached"
    finish_within_s: Span = 604_800.0
    model_version: Count | None = None


class SeatReport(Body, frozen=True):
    """seq: 1, 2, 3, ... over all reports of this seat. update: the model update of a submit.

    update_artifact_id: the artifact that it lies in; `update` is its detached seal then, or left out.
    """

    event: Report
    seq: Count
    round: Count
    metrics: Metrics = {}
    reason: Reason = ""
    update: Payload | None = None
    update_artifact_id: Uuid | None = None


class LeftOut(Body, frozen=True):
    """A site whose update of the round could not be used. reason: a code, such as `seal_damaged`; detail: the fact."""

    site_id: Uuid
    reason: Slug
    detail: Reason = ""


class Aggregated(Body, frozen=True):
    """model_artifact_id: the artifact that the model lies in; `model` is its detached seal then, or none.

    left_out: the sites whose updates could not be used, each with a code and a sentence.
    """

    metrics: Metrics = {}
    model: Payload | None = None
    failure: Reason = ""
    model_artifact_id: Uuid | None = None
    left_out: Annotated[list[LeftOut], msgspec.Meta(max_length=10_000)] = []


class MissingReceipt(Body, frozen=True):
    """reason: a code, such as `not_named`."""

    reason: Slug


class NewPieces(Body, frozen=True):
    """seq: of the first piece; a site counts the pieces of a task run 1, 2, 3, ...

    round: left out where sealed pieces say it themselves.
    """

    seq: Count
    pieces: Annotated[list[PieceText], msgspec.Meta(min_length=1, max_length=32)]
    round: Count | None = None


class OneMessage(Body, frozen=True):
    """artifact_id: the artifact that the payload lies in; `body` is its detached seal then, or left out."""

    project_id: Uuid
    to: Literal["coordinator", "participants"] | Annotated[list[Uuid], msgspec.Meta(min_length=1, max_length=10_000)]
    body: Payload | None = None
    kind: Slug = "message"
    run_id: Uuid | None = None
    ttl_s: Span | None = None
    artifact_id: Uuid | None = None


class NewMessages(Body, frozen=True):
    messages: Annotated[list[OneMessage], msgspec.Meta(min_length=1, max_length=100)]


class NewArtifact(Body, frozen=True):
    """digest: SHA-256 over chunk_digests, the raw SHA-256s of every 4 MiB of the bytes, one after the other.

    seal: the detached seal, where the bytes are a sealed body. ttl_s: how long to keep it once it is stored.
    """

    project_id: Uuid
    kind: ArtifactKind
    size_bytes: Size
    digest: Sha256
    chunk_digests: DigestsText
    run_id: Uuid | None = None
    task_seq: Count | None = None
    round: Count | None = None
    seal: Payload | None = None
    ttl_s: Span | None = None


class Acknowledged(Body, frozen=True):
    """mark: of the entry `through`, as the site got it: so nothing is acknowledged that the site never saw."""

    through: Place
    mark: Mark | None = None


class HeldMark(Body, frozen=True):
    """An inbox entry as the site holds it."""

    seq: Annotated[int, msgspec.Meta(ge=1, le=9_000_000_000_000_000)]
    mark: Mark


class HeldSeat(Body, frozen=True):
    """report_seq: of the last report that the site made. state: live; ended (it saw the task or the run end); lost (it
    cannot go on, or say again what it reported)."""

    run_id: Uuid
    task_seq: Count
    report_seq: Place
    state: Literal["live", "ended", "lost"] = "live"


class HeldKey(Body, frozen=True):
    """One epoch of the site's sealing keys, as it was stated, and whether it is revoked."""

    epoch: Count
    public_key: PublicKeyText
    suite: Literal[1]
    created_at: Moment
    expires_at: Moment
    signature: SignatureText
    revoked: bool = False
    reason: Reason = ""


class Held(Body, frozen=True):
    """What a site holds of the hub's history as it knew it.

    history_id: that it knew. last_seq: of its newest inbox entry; marks: of its newest entries, newest first.
    revoked_tokens: ids of its own tokens that it was told are revoked. seats_cut: it has live seats that are not named.
    """

    last_seq: Place
    history_id: Uuid | None = None
    marks: Annotated[list[HeldMark], msgspec.Meta(max_length=MOST_MARKS)] = []
    seats: Annotated[list[HeldSeat], msgspec.Meta(max_length=MOST_HELD)] = []
    keys: Annotated[list[HeldKey], msgspec.Meta(max_length=MOST_HELD)] = []
    revoked_tokens: Annotated[list[Uuid], msgspec.Meta(max_length=MOST_HELD)] = []
    seats_cut: bool = False


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call without query parameters."""


class PageQuery(Query, frozen=True):
    """after: the `next` of the page before."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    after: CursorText | UnsetType = UNSET


class KeysQuery(PageQuery, frozen=True):
    """Keys are asked for all at once, as a rule."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000


class TokensQuery(PageQuery, frozen=True):
    owner: Uuid | UnsetType = UNSET


class SitesQuery(PageQuery, frozen=True):
    state: SiteState | UnsetType = UNSET
    organisation: Uuid | UnsetType = UNSET
    project: Uuid | UnsetType = UNSET


class ProjectsQuery(PageQuery, frozen=True):
    name: Name | UnsetType = UNSET
    coordinator: Uuid | UnsetType = UNSET
    member: Uuid | UnsetType = UNSET


class ProjectRunsQuery(PageQuery, frozen=True):
    state: RunState | UnsetType = UNSET


class RunsQuery(ProjectRunsQuery, frozen=True):
    project: Uuid | UnsetType = UNSET


class ArtifactsQuery(PageQuery, frozen=True):
    project: Uuid | UnsetType = UNSET
    run: Uuid | UnsetType = UNSET
    kind: ArtifactKind | UnsetType = UNSET


class ChunkQuery(Query, frozen=True):
    """from: the body goes on with the chunk there; it may end before the chunk does."""

    start: Place | UnsetType = msgspec.field(name="from", default=UNSET)


class RunQuery(Query, frozen=True):
    """after: answer once the run's version is above it, or after `wait` seconds."""

    after: Place | UnsetType = UNSET
    wait: Wait = 0.0


class EventsQuery(Query, frozen=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    after: Place = 0


class RunEventsQuery(EventsQuery, frozen=True):
    wait: Wait = 0.0


class LogsQuery(RunEventsQuery, frozen=True):
    """after: the `at` of the last piece seen."""

    site: Uuid | UnsetType = UNSET
    task: Count | UnsetType = UNSET


class InboxQuery(Query, frozen=True):
    """mark: of the entry `after`, as the site got it."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    after: Place | UnsetType = UNSET
    mark: Mark | UnsetType = UNSET
    wait: Wait = 0.0


class WaitQuery(Query, frozen=True):
    wait: Wait = 0.0
