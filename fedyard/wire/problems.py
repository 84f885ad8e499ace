"""Every problem that the hub answers with: the one catalogue of slug, status and title.

Decisions and the web refuse with a member of `ProblemType`; docs/api.md lists them; a site looks up what it was
answered. A title belongs to its type and says nothing of the case: that is what `detail` is for (RFC 9457).
"""

from __future__ import annotations

from enum import Enum, unique

import msgspec

MEDIA_TYPE = "application/problem+json"
_WHERE = "/problems/"


class Problem(msgspec.Struct, frozen=True):
    """The body of a refusal, as RFC 9457 has it. `detail` says the fact, the ids and the remedy."""

    type: str
    title: str
    status: int
    detail: str


@unique
class ProblemType(Enum):
    """A type of problem: its status and its title. `slug`, its name in small letters, is how machines know it.

    No two have both in common: who reads the answer can tell them apart. Add one here, and to the list in docs/api.md.
    """

    def __init__(self, status: int, title: str) -> None:
        self.slug = self.name.lower()
        self.type = f"{_WHERE}{self.slug}"
        self.status = status
        self.title = title

    def body(self, detail: str, **members: object) -> dict[str, object]:
        """The fields of the refusal, to be written as JSON. members: further ones, for machines."""
        return {"type": self.type, "title": self.title, "status": self.status, "detail": detail, **members}

    MALFORMED = 400, "The request is malformed"
    NO_TOKEN = 401, "A bearer token is needed"
    TOKEN_NOT_VALID = 401, "The token is not valid"
    COORDINATOR_ONLY = 403, "To the coordinator only"
    FORBIDDEN = 403, "Not yours to do"
    SCOPE_MISSING = 403, "Scope missing"
    NOT_FOUND = 404, "Not found"
    METHOD_NOT_ALLOWED = 405, "The method is not allowed here"
    TOO_SLOW = 408, "The request came too slowly"
    ACCOUNT_DISABLED = 409, "Account disabled"
    ARTIFACT_EXPIRED = 409, "Artifact expired"
    ARTIFACT_NEEDED = 409, "Artifact needed"
    ARTIFACT_NOT_STORED = 409, "Artifact not stored"
    BACKLOG_FULL = 409, "Backlog full"
    CHUNKS_MISSING = 409, "Chunks missing"
    COORDINATES_PROJECTS = 409, "Coordinates projects"
    ENROLMENT_EXPIRED = 409, "Enrolment expired"
    ENROLMENT_USED = 409, "Enrolment used"
    EPOCH_NOT_NEXT = 409, "Not the next epoch"
    EPOCH_TAKEN = 409, "Epoch taken"
    HISTORY_WENT_BACK = 409, "The hub's history went back"
    IN_USE = 409, "In use"
    IS_COORDINATOR = 409, "Is the coordinator"
    KEY_UNUSABLE = 409, "Key not to be used"
    LOG_FULL = 409, "Log full"
    MODEL_EXPIRED = 409, "Model expired"
    NAME_TAKEN = 409, "Name taken"
    NO_CLIENT_IMAGE = 409, "No client image"
    NO_WAY_BACK = 409, "No way back"
    NOT_AGGREGATING = 409, "Not aggregating"
    NOT_NOW = 409, "Not now"
    NOT_STORED = 409, "The artifact is not there"
    NOT_TAKEN = 409, "The artifact takes nothing any more"
    PROJECT_ARCHIVED = 409, "Project archived"
    QUOTA_EXCEEDED = 409, "Quota exceeded"
    RESTARTED_ALREADY = 409, "Restarted already"
    RESULT_TAKEN = 409, "Another result is there"
    ROUND_AHEAD = 409, "Round ahead"
    ROUND_OVER = 409, "Round over"
    RUN_FINISHED = 409, "Run finished"
    RUN_LIVE = 409, "A run lives"
    SEAL_EXPIRED = 409, "Seal expired"
    SEAT_DROPPED = 409, "Seat dropped"
    SECRET_NEEDED = 409, "Secret needed"
    SITE_QUOTA_EXCEEDED = 409, "Site quota exceeded"
    SITE_RETIRED = 409, "Site retired"
    TASK_FINISHED = 409, "Task finished"
    TASK_WAITING = 409, "Task waits"
    TOKEN_TAKEN = 409, "Token known"
    TOO_EARLY = 409, "Too early"
    TOO_MANY = 409, "Too many of one kind"
    UNFINISHED_ARTIFACTS = 409, "Too many unfinished artifacts"
    WEBHOOK_DISABLED = 409, "Webhook disabled"
    WORKLOAD_ENDED = 409, "Workload ended"
    WRONG_OFFSET = 409, "The chunk does not go on there"
    LENGTH_REQUIRED = 411, "The length must be said"
    TOO_LARGE = 413, "Too large"
    NOT_JSON = 415, "The body is not JSON"
    RANGE_NOT_SATISFIABLE = 416, "There are no such bytes"
    ALREADY_EXPIRED = 422, "Expires in the past"
    BAD_SIGNATURE = 422, "The signature does not hold"
    DIGEST_MISMATCH = 422, "Digest mismatch"
    IDEMPOTENCY_KEY_REUSED = 422, "The idempotency key was used for another request"
    IMPOSSIBLE = 422, "The request cannot be done"
    KIND_RESERVED = 422, "Kind reserved"
    MISPLACED = 422, "Misplaced"
    MODEL_OF_ANOTHER_TASK = 422, "Model of another task"
    NO_CONFLICT = 422, "No conflict"
    NO_PAYLOAD = 422, "No payload"
    NO_RECIPIENTS = 422, "No recipients"
    NO_ROUNDS_LEFT = 422, "No rounds left"
    NOT_A_MEMBER = 422, "Not a member"
    NOT_SUBMITTED = 422, "Not submitted"
    OUTLIVES_ISSUER = 422, "Outlives its issuer"
    QUORUM_IMPOSSIBLE = 422, "Quorum impossible"
    SEAL_MALFORMED = 422, "Malformed seal"
    SEAL_MISMATCH = 422, "Seal and body differ"
    SEAL_READDRESSED = 422, "Sealed for another place"
    SEAL_UNSUPPORTED = 422, "Unsupported seal"
    TASKS_IMPOSSIBLE = 422, "Impossible tasks"
    UNFIT = 422, "A value cannot be taken"
    UNSEALED = 422, "Not sealed"
    WRONG_LENGTH = 422, "The length is not the chunk's"
    RATE_EXCEEDED = 429, "The caller's rate is exceeded"
    SHARE_EXCEEDED = 429, "The caller's share is taken"
    INTERNAL = 500, "The hub made a mistake"
    NOT_DONE_HERE = 501, "The hub does not do this"
    BROKER_UNAVAILABLE = 503, "The broker cannot be reached"
    DATABASE_UNAVAILABLE = 503, "The database cannot be reached"
    STORAGE_UNAVAILABLE = 503, "The store of artifacts cannot be reached"
    UNDECIDED = 503, "Not decided in time"
    TOO_MANY_BODIES = 503, "Too many bodies are being read"
    TOO_MANY_POLLS = 503, "Too many polls are open"
    TOO_MANY_TRANSFERS = 503, "Too many transfers are under way"
    STORAGE_FULL = 507, "No room is left"


_BY_SLUG = {each.slug: each for each in ProblemType}


def slug_of(type: str) -> str:
    """The slug in a problem's `type`."""
    return type.rsplit("/", 1)[-1]


def known(slug: str) -> ProblemType | None:
    """The type with this slug; None for one that only a newer hub, or somebody else, has: go by the status then."""
    return _BY_SLUG.get(slug)
