"""The site's own word on a project: [project.NAME] in its site.toml, which nothing that the hub or a task sends passes.

A section is meant by the project's id, by the name under which this site joined it, or, for all that have none, by
"*". What it leaves out is as the site has it for all projects. What follows from it is pure, and here; steps/policy.py
asks it before and after each hook.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Annotated, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from fedyard.agent.consents import Consent, means
from fedyard.tasks.confined import Confine
from fedyard.tasks.privacy import Privacy
from fedyard.wire.answers import TaskSpec
from fedyard.wire.comparing import part
from fedyard.wire.plurals import counted
from fedyard.wire.quorum import quorum_of
from fedyard.wire.shown import shown

ALL_OTHERS: Final = "*"
"""The section for projects that have none of their own."""
MAX_METRICS: Final = 64
MAX_METRIC_NAME: Final = 64
HELD_BACK: Final = "the task failed; what it says of it stays at its site"
"""What the coordinator is told in place of a hook's own sentence, where what a task says stays."""
LEFT_OUT_HELD_BACK: Final = "the task cannot use it; why stays at the coordinator's site"
SAMPLES: Final = "samples"
"""The metric by which a task says how many rows its update was made of."""
_DIGEST: Final = "@sha256:"
_MODEL = "[A-Za-z_][A-Za-z0-9_.]*(?::[A-Za-z_][A-Za-z0-9_]*)?"
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")

ProjectName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Allowed: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^{_MODEL}({_DIGEST}[0-9a-f]{{64}})?(?!\\n)$")]
"""A model that may run, and perhaps the digest of its code."""
Ask: TypeAlias = Literal["never", "changes", "runs"]


class PolicyRefused(Exception):
    """The site's own word is against it. slug: a code; the sentence is for the coordinator's people, too."""

    def __init__(self, slug: str, fact: str) -> None:
        self.slug = slug
        super().__init__(f"policy_{slug}: {fact}")


def _hours(text: str | None) -> tuple[time, time]:
    """Begin and end. Raises `ValueError` with how it is written."""
    if text is None:
        return time.min, time.max
    found = _HOURS.fullmatch(text)
    if found is None or text[:5] == text[6:]:
        raise ValueError(f'hours {text[:20]!r}: write when they begin and end, e.g. "20:00-06:00"')
    end = time.max if found[3] is None else time(int(found[3]), int(found[4]))
    return time(int(found[1]), int(found[2])), end


def _zone(name: str | None) -> tzinfo | None:
    """None: this machine's. Raises `ValueError` for one that it does not know."""
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(
            f'time_zone {name[:40]!r} is not known on this machine: write e.g. "Europe/Oslo" (package tzdata)'
        ) from None


class ProjectPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for one project. Without a field the site's own word for all projects holds.

    data: name -> file, in place of [data]: a task of this project gets these alone. allow: the models that it may run,
    each perhaps with the SHA-256 of its code, in place of `tasks.allow` and of the models that come with Fedyard.
    min_rows: each table that a task may read has so many, and no update is made of fewer. min_count: the smallest count
    that a ready task may tell, in place of `tasks.min_count`. min_sites: no update goes
    into a model of fewer sites. max_update_bytes: of a packed update. metrics: the names of those that may leave;
    without it all may. logs: what a task says, in its log and as reason, may leave. runs_a_day: within any 24 hours.
    hours: "20:00-06:00", when hooks may begin, by the clock of `time_zone` or else this machine's. ask: a person has to
    approve each run ("runs"), or tasks that nobody here approved before ("changes"). privacy: updates leave clipped and
    with noise. confine: what the hooks' processes may reach.
    """

    data: dict[str, str] | None = None
    allow: Annotated[list[Allowed], msgspec.Meta(max_length=200)] | None = None
    min_rows: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    min_count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    min_sites: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    max_update_bytes: Annotated[int, msgspec.Meta(ge=1, le=2**40)] | None = None
    metrics: Annotated[list[str], msgspec.Meta(max_length=MAX_METRICS)] | None = None
    logs: bool = True
    runs_a_day: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    hours: str | None = None
    time_zone: str | None = None
    ask: Ask = "never"
    privacy: Privacy | None = None
    confine: Confine = Confine()

    def __post_init__(self) -> None:
        _hours(self.hours)
        _zone(self.time_zone)

    def data_of(self, site: Mapping[str, str]) -> Mapping[str, str]:
        """What a task of this project may read: name -> file. site: [data]."""
        return site if self.data is None else self.data

    def least(self, site: int) -> int:
        """The smallest count of people that a ready task may tell. site: tasks.min_count."""
        return site if self.min_count is None else self.min_count

    def models(self, site: Sequence[str]) -> list[str]:
        """The models that may run, beside those that come with Fedyard where `allow` is not said. site: tasks.allow."""
        return list(site) if self.allow is None else [name.partition(_DIGEST)[0] for name in self.allow]

    def digests(self, model: str) -> list[str] | None:
        """The digests of code that may run as this model; None: any."""
        said = [one for name, _, one in (each.partition(_DIGEST) for each in self.allow or ()) if name == model]
        return [one for one in said if one] or None

    def check_model(self, model: str, digest: str) -> None:
        """Raises `PolicyRefused` for a model that the section does not name, or for other code than it names."""
        if self.allow is not None and model not in self.models(()):
            raise PolicyRefused("model", f"this site does not let the project run the model {model!r}")
        wanted = self.digests(model)
        if wanted is not None and digest not in wanted:
            raise PolicyRefused(
                "code",
                f"the code of {model!r} at this site has the digest {digest or 'of nothing'}, and its site.toml allows "
                f"{' or '.join(wanted)}",
            )

    def check_sites(self, spec: TaskSpec, seats: int | None, *, trains: bool) -> None:
        """By the task's contract, as its coordinator's agent keeps it. seats: as the hub says; None if it does not,
        which is for it to do before a seat trains.

        Raises `PolicyRefused`.
        """
        if not self.min_sites or not spec.aggregate:
            return
        if trains and spec.contract.quorum_of != "count" and seats is None:
            raise PolicyRefused("min_sites", "the hub does not say how many sites train, and the quorum is of them")
        if spec.contract.quorum_of == "count" or seats is not None:
            least = quorum_of(spec.contract, seats or 0)
            if least < self.min_sites:
                raise PolicyRefused(
                    "min_sites",
                    f"by its contract a model may be made of {counted(least, 'update')}, and this site takes part only "
                    f"where it is made of {self.min_sites} at least",
                )

    def check_shown(self, rounds: Sequence[int]) -> None:
        """rounds: those of the run that have an update of this site, and of which no model was shown.

        Raises `PolicyRefused`.
        """
        if self.min_sites and rounds:
            raise PolicyRefused(
                "min_sites",
                f"of round {rounds[0]}, which has an update of this site, the hub shows no model; this site takes part "
                f"only where one is made of {self.min_sites} updates at least",
            )

    def check_made_of(self, updates: int | None) -> None:
        """By what a model's sealed header names. Raises `PolicyRefused`."""
        if self.min_sites and (updates is None or updates < self.min_sites):
            made = "does not say of how many updates it was" if updates is None else f"was made of {updates}"
            raise PolicyRefused(
                "min_sites", f"a model {made}; this site takes part only where it is made of {self.min_sites} at least"
            )

    def check_update(self, size_bytes: int, metrics: Mapping[str, float], rows: int | None) -> None:
        """An update before it leaves. rows: of the smallest table; None where none could be counted.

        Raises `PolicyRefused`.
        """
        if self.max_update_bytes is not None and size_bytes > self.max_update_bytes:
            raise PolicyRefused(
                "max_update_bytes",
                f"the update has {size_bytes} bytes, and {self.max_update_bytes} may leave this site",
            )
        if not self.min_rows:
            return
        said = metrics.get(SAMPLES)
        known = [one for one in (rows, said) if one is not None]
        if not known:
            raise PolicyRefused(
                "min_rows", f"nothing says of how many rows the update was made, and this site wants {self.min_rows}"
            )
        if not all(one >= self.min_rows for one in known):  # NaN is none of them
            raise PolicyRefused("min_rows", f"the update was made of fewer than {self.min_rows} rows")

    def leaving(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The metrics that may leave, as the hub takes them: finite numbers with short names."""
        kept: dict[str, float] = {}
        for name, value in metrics.items():
            named = 1 <= len(name) <= MAX_METRIC_NAME and name.isprintable()
            if named and math.isfinite(value) and len(kept) < MAX_METRICS and self._may_leave(name):
                kept[name] = value
        return kept

    def _may_leave(self, name: str) -> bool:
        return self.metrics is None or name in self.metrics

    def opens_in(self, now: int) -> int:
        """Microseconds until a hook may begin; 0: it may now. now: microseconds, UTC."""
        if self.hours is None:
            return 0
        begin, end = _hours(self.hours)
        here = datetime.fromtimestamp(now / 1e6, UTC).astimezone(_zone(self.time_zone))
        clock = here.time()
        is_open = begin <= clock < end if begin < end else clock >= begin or clock < end
        if is_open:
            return 0
        opens = here.replace(hour=begin.hour, minute=begin.minute, second=0, microsecond=0)
        if opens <= here:
            opens += timedelta(days=1)
        return max(1, int(opens.astimezone(UTC).timestamp() * 1e6) - now)


EVERY_PROJECT: Final = ProjectPolicy()
"""What holds where no section says anything."""


def policy_of(sections: Mapping[str, ProjectPolicy], consent: Consent) -> ProjectPolicy:
    """What holds for a project that is served: by its id, else by the name that this site joined it under.

    The hub's present name of it does not count. Two projects of one name have the same section.
    """
    meant = [name for name in sections if means(name, consent.project_id, consent.name)]
    if not meant:
        return sections.get(ALL_OTHERS, EVERY_PROJECT)
    return sections[min(meant, key=lambda name: name.lower() != consent.project_id)]


def differences(before: bytes, after: bytes) -> list[str]:
    """What is not alike in two tasks, as JSON, in words: `parameters.epochs: 5, was 1`."""
    old, new = (_flat(msgspec.json.decode(task)) for task in (before, after))
    return [
        f"{name}: {_said(new, name)}, was {_said(old, name)}"
        for name in sorted({*old, *new})
        if _json(old, name) != _json(new, name)
    ]


_SHOWN: Final = 200


def _said(values: Mapping[str, object], name: str) -> str:
    return shown(_json(values, name), _SHOWN) if name in values else "not there"


def _json(values: Mapping[str, object], name: str) -> str:
    """In which 1 is not `true`; empty of what is not there."""
    return msgspec.json.encode(values[name], order="deterministic").decode() if name in values else ""


def _flat(value: object, name: str = "") -> dict[str, object]:
    """An object in an object by names with dots."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    flat: dict[str, object] = {}
    for key, each in value.items():
        flat |= _flat(each, f"{name}.{part(key)}" if name else part(key))
    return flat
