"""What follows from what is wanted and what is seen: pure, the same for the hub's clusters and for a site's.

The law, for each attempt:

- Wanted and never seen: it is made, not before its time, and not before the hub knows the token that it enrols with.
- Seen: what is seen is found, where the records do not say so yet. A service that differs from what is wanted is made
  as it is wanted; so it is now and then, for what cannot be seen.
- At its end, or no longer wanted: its evidence is collected first, and only when that is in the records it is ended.
  Evidence that cannot be had holds this up for a minute, not for ever: a minute of trying, however long it was away.
- Wanted, seen before and not there any more: a service is made again. Of a job nobody knows what became of it.
- Not wanted and not there: it is gone. If it was made, and nothing was collected of it, not before it had time to be
  listed: a cluster that lists late would have it stopped while it runs.
- There, and in nobody's records: an orphan. It is ended once it is old enough that its record cannot be on its way.

Nothing here is done and nothing remembered: who calls does what is said, and asks again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from fedyard.cluster.port import AttemptId, EnvName, Observed, Phase, Reason, Spec
from fedyard.wire.types import Slug

Side: TypeAlias = Literal["inside", "outside"]

ORPHAN_AGE_S = 60.0
MISSING_S = 5.0
"""What was seen before counts, after so long, as vanished or gone: a cluster may list what it has late."""
PULL_WITHIN_S = 600.0
"""So long an image may not be pulled, since the attempt was made: then the attempt has failed of it."""
EVIDENCE_WITHIN_S = 60.0
DEADLINE_SLACK_S = 30.0
"""So long after its deadline and its grace a cluster may take to end a job by itself."""
UNMADE_S = 30.0
"""A stopped attempt that nobody has seen counts as gone only then: what makes it may still be on its way."""
ORPHAN_GRACE_S = 10.0

FINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED})


class Key(NamedTuple):
    """An attempt's, wherever it is kept."""

    id: str
    attempt: int


class Finding(msgspec.Struct, frozen=True):
    """What is to be recorded of an attempt. phase: None where nobody has seen it. gone: nothing of it is there."""

    id: str
    attempt: int
    phase: Phase | None = None
    uid: str = ""
    reason: Reason = Reason.NONE
    detail: str = ""
    exit_code: int | None = None
    ready: int = 0
    addresses: dict[Side, str] = {}
    gone: bool = False


class Wanted(msgspec.Struct, frozen=True):
    """An attempt as the records have it, from when it is wanted until it is gone.

    run: it shall be there; False: it shall go. known: what was recorded of it last. kept: so is its evidence.
    enrols: it becomes a site, and is given a one-time token for it. introduced: the hub knows that one.
    not_before_s: it is not made earlier. over_s: when its end was recorded, or its stop asked for.
    secret_names: variables, and the names of the secrets whose values they get: whoever makes it knows these.
    log_from: how much of its log the hub has, if somebody has ever followed that; followed: somebody does now.
    """

    spec: Spec
    run: bool
    known: Finding
    kept: bool = False
    enrols: bool = False
    introduced: bool = False
    not_before_s: float = 0.0
    over_s: float | None = None
    secret_names: dict[EnvName, Slug] = {}
    log_from: int | None = None
    followed: bool = False

    @property
    def key(self) -> Key:
        return Key(self.spec.id, self.spec.attempt)


class Ensure(msgspec.Struct, frozen=True):
    """Make it, or make it as it is wanted. enrols: with a one-time token. secret_names: as `Wanted` has them.

    behind: how many others have its name to the letter and are still there; as soon as they are fewer it is worth
    asking again.
    """

    spec: Spec
    enrols: bool = False
    secret_names: dict[EnvName, Slug] = {}
    behind: int = 0


class Introduce(msgspec.Struct, frozen=True):
    """Tell the hub the hash of its one-time token, before it can use that."""

    finding: Finding


class Collect(msgspec.Struct, frozen=True):
    """Collect its evidence, and record it together with the finding. log_from: what its log has from that byte on is
    recorded before, for those who have followed it."""

    which: AttemptId
    finding: Finding
    log_from: int | None = None


class End(msgspec.Struct, frozen=True):
    """Stop and remove it. phase, stopping: how it looks; as soon as it looks otherwise it is worth asking again."""

    which: AttemptId
    grace_s: float
    phase: Phase
    stopping: bool = False


Action: TypeAlias = Introduce | Ensure | Collect | End


class Memory(msgspec.Struct, frozen=True):
    """Since when, by the clock of the calls. missing: what was seen before is not there. collecting: evidence is asked
    for."""

    missing: dict[Key, float] = {}
    collecting: dict[Key, float] = {}


class Plan(msgspec.Struct, frozen=True):
    """What to do and what to record. memory: to be said at the next call."""

    actions: list[Action]
    findings: list[Finding]
    memory: Memory = Memory()


def plan(
    owner: str,
    wanted: Sequence[Wanted],
    seen: Iterable[Observed],
    now_s: float,
    *,
    memory: Memory = Memory(),  # noqa: B008 - nothing changes it
    renew: bool = False,
) -> Plan:
    """What follows. wanted: read before it was looked what is there, or what was just made would count as vanished.

    owner: whose all of it is. now_s: since the epoch. memory: of the plan before. renew: make those services as they
    are wanted, too, that look so.
    """
    there = {Key(one.id, one.attempt): one for one in seen}
    names = Counter(_name(one.spec) for one in wanted if one.key in there and _has_name(one.spec))
    made = Plan([], [], Memory({}, {}))
    for one in wanted:
        observed = there.pop(one.key, None)
        if observed is None:
            _absent(made, one, now_s, memory.missing, names[_name(one.spec)] if _has_name(one.spec) else 0)
        else:
            _present(made, one, observed, now_s, memory.collecting, renew=renew)
    for orphan in there.values():
        if now_s - orphan.created_s >= ORPHAN_AGE_S:
            which = AttemptId(owner, orphan.place, orphan.id, orphan.attempt)
            made.actions.append(End(which, ORPHAN_GRACE_S, orphan.phase, orphan.stopping))
    return made


def finding_of(observed: Observed) -> Finding:
    """What an observation says, in a form that records can hold: bounded, and without what no text column takes."""
    return Finding(
        id=observed.id,
        attempt=observed.attempt,
        phase=observed.phase,
        uid=said(observed.uid, 200),
        reason=observed.reason,
        detail=said(observed.detail, 1000),
        exit_code=observed.exit_code,
        ready=observed.ready,
        addresses={side: said(address, 300) for side, address in sorted(observed.addresses.items())},
    )


def said(text: str, most: int) -> str:
    """So many characters at most, none of them U+0000."""
    return text.replace("\0", " ")[:most]


def _has_name(spec: Spec) -> bool:
    """To the letter, which one at a time has in its place."""
    return spec.stable or spec.exact


def _name(spec: Spec) -> tuple[str, str]:
    return spec.place, spec.name


def _absent(made: Plan, one: Wanted, now_s: float, missing: Mapping[Key, float], behind: int) -> None:
    known = one.known
    over = known.phase in FINAL
    if not one.run or over:
        unmade = not known.uid and not over and one.over_s is not None and now_s < one.over_s + UNMADE_S
        if known.uid and not one.kept:  # made, perhaps so short a time ago that it is not listed yet
            made.memory.missing[one.key] = missing.get(one.key, now_s)
            unmade = now_s - made.memory.missing[one.key] < MISSING_S
        if not unmade:
            made.findings.append(msgspec.structs.replace(known, gone=True))
    elif not known.uid:
        if one.enrols and not one.introduced:
            made.actions.append(Introduce(known))
        elif now_s >= one.not_before_s:
            made.actions.append(Ensure(one.spec, one.enrols, one.secret_names, behind))
    else:
        since_s = missing.get(one.key, now_s)
        made.memory.missing[one.key] = since_s
        if now_s - since_s >= MISSING_S:
            if one.spec.kind == "service":
                made.actions.append(Ensure(one.spec, one.enrols, one.secret_names))
            else:
                vanished = "it is not there any more, and the cluster does not say what became of it"
                made.findings.append(
                    msgspec.structs.replace(known, phase=Phase.FAILED, reason=Reason.VANISHED, detail=vanished, ready=0)
                )


def _present(
    made: Plan, one: Wanted, observed: Observed, now_s: float, collecting: Mapping[Key, float], *, renew: bool
) -> None:
    over = one.known.phase in FINAL
    finding = one.known if over else _judged(one, observed, now_s)
    if not one.run or finding.phase in FINAL:
        if not one.kept:
            made.memory.collecting[one.key] = collecting.get(one.key, now_s)
        if one.kept or _in_vain(one, now_s, collecting):
            made.actions.append(End(one.spec.attempt_id, one.spec.grace_s, observed.phase, observed.stopping))
        else:
            made.actions.append(Collect(one.spec.attempt_id, finding, one.log_from))
        return
    if finding != one.known:
        made.findings.append(finding)
    if one.spec.kind == "service" and (renew or observed.stopping or observed.replicas != one.spec.replicas):
        made.actions.append(Ensure(one.spec, one.enrols, one.secret_names))


def _in_vain(one: Wanted, now_s: float, collecting: Mapping[Key, float]) -> bool:
    """Its evidence cannot be had: its end is on record for a minute, and so long it was asked for."""
    if one.over_s is None:
        return False
    return now_s - max(one.over_s, collecting.get(one.key, now_s)) >= EVIDENCE_WITHIN_S


def _judged(one: Wanted, observed: Observed, now_s: float) -> Finding:
    """What is seen, unless it has taken too long: then the attempt has failed of that."""
    finding = finding_of(observed)
    spec = one.spec
    if observed.phase in FINAL:
        return finding
    if observed.reason == Reason.IMAGE_NOT_PULLED and now_s >= observed.created_s + PULL_WITHIN_S:
        return msgspec.structs.replace(finding, phase=Phase.FAILED)
    if spec.deadline_s is None or observed.started_s is None:
        return finding
    if now_s >= observed.started_s + spec.deadline_s + spec.grace_s + DEADLINE_SLACK_S:
        detail = f"it has run for longer than the {spec.deadline_s:g} s that it may"
        return msgspec.structs.replace(finding, phase=Phase.FAILED, reason=Reason.DEADLINE_PASSED, detail=detail)
    return finding
