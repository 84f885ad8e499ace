"""The hub's check of sealed payloads: form and routing, by the header. It cannot open them, nor does it try to.

A project says whether payloads have to be sealed. Where they have to be, what is not sealed is refused; where they
need not be, what claims to be sealed is checked all the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from domain import records as r
from domain.decisions.access import active_members
from domain.decisions.draft import Draft, Refused
from domain.decisions.keys import identity_of, usable
from domain.ids import Id
from domain.states import SEAT_LIVE, KeyState
from fedyard.wire.chunks import digests_of, tree_digest
from fedyard.wire.problems import ProblemType
from fedyard.wire.seals import Seal, SealMalformed, SealUnsupported, is_sealed, read_seal


class Place(msgspec.Struct, frozen=True):
    """Where a payload belongs, by the call that brings it; its header has to say the same.

    kind: None for whatever word its sender has for it. must: who has to be able to open it. may: who may be. Both hold
    ids of sites.
    """

    project: r.Project
    sender: r.Site
    kind: str | None
    must: frozenset[Id]
    may: frozenset[Id]
    run_id: Id | None = None
    task_seq: int | None = None
    round: int | None = None


class Ciphertext(msgspec.Struct, frozen=True):
    """A body that lies in an artifact: its size and its tree digest."""

    size_bytes: int
    digest: str


def outside(artifact: r.Artifact | None) -> Ciphertext | None:
    """The body that lies in an artifact."""
    return None if artifact is None else Ciphertext(artifact.size_bytes, artifact.digest)


def to_coordinator(
    project: r.Project, sender: r.Site, kind: str, run_id: Id, task_seq: int, round: int | None
) -> Place:
    """An update, log or result of a run: for the coordinator, and for the sender itself if it wants to."""
    coordinator = frozenset({project.coordinator_site_id})
    return Place(project, sender, kind, coordinator, coordinator | {sender.id}, run_id, task_seq, round)


def to_members(
    draft: Draft, project: r.Project, sender: r.Site, kind: str, run_id: Id, task: r.TaskRun, round: int
) -> Place:
    """A global model: for every live seat of its task whose site can be sealed to, and for whatever member else."""
    live = {seat.site_id for seat in draft.group(r.Seat, task.id) if seat.state in SEAT_LIVE}
    must = frozenset(site_id for site_id in live if _has_key(draft, site_id))
    return Place(project, sender, kind, must, frozenset(active_members(draft, project.id)), run_id, task.seq, round)


def _has_key(draft: Draft, site_id: Id) -> bool:
    return any(key.state == KeyState.CURRENT for key in draft.group(r.SiteKey, site_id))


def checked(draft: Draft, place: Place, payload: bytes | None, outside: Ciphertext | None = None) -> Seal | None:
    """The seal of a payload that may pass, or None of one that need not be sealed and is not.

    payload: the bytes that came, with `outside` the detached seal alone; None if there are none. The keys of its
    recipients must be loaded. Raises `Refused`.
    """
    if payload is None or not is_sealed(payload):
        if place.project.sealed == "required":
            raise Refused(
                ProblemType.UNSEALED,
                f"project {place.project.id} takes sealed payloads alone, this {place.kind or 'one'} is not; seal it",
            )
        return None
    seal = _read(payload)
    _check_routing(place, seal)
    _check_keys(draft, place, seal)
    _check_body(payload, seal, outside)
    return seal


def _read(payload: bytes) -> Seal:
    try:
        return read_seal(payload)
    except SealMalformed as error:
        raise Refused(ProblemType.SEAL_MALFORMED, f"this is no sealed payload of format 1: {error}") from None
    except SealUnsupported as error:
        raise Refused(ProblemType.SEAL_UNSUPPORTED, f"{error}; seal it in a way that the hub supports") from None


def _check_routing(place: Place, seal: Seal) -> None:
    """The header says what the call says: else it was made for another place."""
    header = seal.header
    said = {
        "sender": (header.sender, place.sender.id),
        "identity": (header.identity, identity_of(place.sender)),
        "project": (header.project, place.project.id),
        "run": (header.run, place.run_id),
        "task": (header.task, place.task_seq),
        "round": (header.round, place.round),
        "kind": (header.kind, place.kind),
    }
    for field, (in_header, in_call) in said.items():
        if in_header != in_call and not (field == "kind" and in_call is None):
            raise _readdressed(f"its header names {field} {in_header}, the call is of {in_call}")
    readers = {recipient.site for recipient in header.recipients}
    if left_out := sorted(place.must - readers):
        raise _readdressed(f"it is not sealed to site {left_out[0]}, which has to open it")
    if strangers := sorted(readers - place.may):
        raise _readdressed(f"it is sealed to site {strangers[0]}, which this {place.kind or 'payload'} is not for")


def _check_keys(draft: Draft, place: Place, seal: Seal) -> None:
    """Every recipient's epoch may be sealed to, every recipient has its wrap, and it has not expired."""
    if seal.header.expires <= draft.now:
        raise Refused(
            ProblemType.SEAL_EXPIRED, f"the seal {seal.header.id} of site {place.sender.id} has expired; seal it anew"
        )
    for recipient in seal.header.recipients:
        key = draft.get(r.SiteKey, recipient.site, recipient.epoch)
        if key is None or not usable(key, draft.now):
            state = "unknown" if key is None else key.state if key.state == KeyState.REVOKED else "past its grace"
            raise Refused(
                ProblemType.KEY_UNUSABLE,
                f"epoch {recipient.epoch} of site {recipient.site} is {state}; read the project's keys and seal anew",
            )
    if len(seal.wraps) != len(seal.header.recipients):
        raise Refused(
            ProblemType.SEAL_MALFORMED,
            f"it has {len(seal.wraps)} wraps for {len(seal.header.recipients)} recipients; send one for each",
        )


def _check_body(payload: bytes, seal: Seal, outside: Ciphertext | None) -> None:
    """The body that came, or the artifact's, is the one that was sealed."""
    header = seal.header
    if outside is not None and not seal.detached:
        raise Refused(
            ProblemType.SEAL_MISMATCH, "the body lies in an artifact; send its detached seal, without the body"
        )
    if outside is None and seal.detached:
        raise Refused(
            ProblemType.SEAL_MISMATCH, "the seal came without its body; send both, or name the body's artifact"
        )
    if outside is None:
        outside = Ciphertext(
            seal.size_bytes - seal.body_at, tree_digest(digests_of(memoryview(payload)[seal.body_at :]))
        )
    if (outside.size_bytes, outside.digest) != (header.body_bytes, header.body_digest):
        raise Refused(
            ProblemType.SEAL_MISMATCH,
            f"the seal is of {header.body_bytes} bytes with digest {header.body_digest}, its body has "
            f"{outside.size_bytes} with {outside.digest}",
        )


def _readdressed(detail: str) -> Refused:
    return Refused(ProblemType.SEAL_READDRESSED, f"{detail}; seal it for where it goes")


def keys_in(payloads: Iterable[bytes | None]) -> set[tuple[Id, int]]:
    """The keys (site, epoch) that these payloads are sealed to: what must be loaded to check them."""
    found: set[tuple[Id, int]] = set()
    for payload in payloads:
        if payload is not None and is_sealed(payload):
            found.update(_recipients(payload))
    return found


def _recipients(payload: bytes) -> list[tuple[Id, int]]:
    """None of a payload that is malformed; its decision says so."""
    try:
        return [(recipient.site, recipient.epoch) for recipient in read_seal(payload).header.recipients]
    except (SealMalformed, SealUnsupported):
        return []
