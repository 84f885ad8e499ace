"""What finds room at a site's cluster, by the limits in its site.toml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from fedyard.agent.cluster import ClusterSettings, Fits, over
from fedyard.cluster.doing import MAX_DETAIL
from fedyard.cluster.plan import FINAL, Key, Plan, Wanted, finding_of, said
from fedyard.cluster.port import Observed, Reason, Refused


def held_back(
    settings: ClusterSettings,
    wanted: list[Wanted],
    barred: Mapping[Key, Refused],
    there: Mapping[Key, Observed],
    now_s: float,
) -> dict[Key, Refused]:
    """What is not made yet, or has not grown yet, as what is there leaves it no room."""
    specs = {one.key: one.spec for one in wanted}
    taken = Fits()
    for key, observed in there.items():
        if observed.phase not in FINAL and key in specs:
            taken = taken.plus(specs[key], replicas=observed.replicas)
    held = {}
    for one in wanted:
        if not one.run or one.known.phase in FINAL or one.key in barred or one.not_before_s > now_s:
            continue
        observed_now = there.get(one.key)
        if observed_now is not None:
            more = one.spec.replicas - observed_now.replicas
            if one.spec.kind != "service" or more <= 0 or observed_now.phase in FINAL:
                continue
            asked = taken.more(one.spec, more)
        elif one.known.uid and one.spec.kind == "job":  # it vanished, and is not made again
            continue
        else:
            asked = taken.plus(one.spec)
        too_much = over(settings, asked)
        if too_much is None:
            taken = asked
        else:
            held[one.key] = Refused(Reason.QUOTA_EXCEEDED, f"{too_much}: it waits until something ends")
    return held


def as_it_is(one: Wanted, observed: Observed) -> Wanted:
    return msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, replicas=observed.replicas))


def with_reasons(
    made: Plan, wanted: Iterable[Wanted], held: Mapping[Key, Refused], there: Mapping[Key, Observed]
) -> Plan:
    """Of what finds no room to grow it is found how it is, and why it is not more."""
    if not held:
        return made
    findings = [one for one in made.findings if Key(one.id, one.attempt) not in held]
    for one in wanted:
        if (why := held.get(one.key)) is not None:
            found = finding_of(there[one.key])
            found = msgspec.structs.replace(found, reason=why.reason, detail=said(why.fact, MAX_DETAIL))
            findings += [found] if found != one.known else []
    return Plan(made.actions, findings, made.memory)
