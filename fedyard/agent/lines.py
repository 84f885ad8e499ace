"""The lines of an agent's log: which are written, and how they look. `[log]` in site.toml."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal, TextIO

import msgspec

from fedyard.wire.shown import shown

Level = Literal["info", "warning", "error"]

ERRORS = frozenset(
    {
        "chain of events at fault",
        "conflict not recorded",
        "entry failed",
        "history went back",
        "identity conflict",
        "keys refused",
        "lines of logs are lost",
        "privacy budget went back",
        "seat not failed",
        "went wrong",
    }
)
"""What people have to look at."""
WARNINGS = frozenset(
    {
        "aggregation refused",
        "clock",
        "entry beyond belief",
        "entry not understood",
        "gap",
        "heartbeat lost",
        "hook failed",
        "hub unavailable",
        "key not ours",
        "key revoked at the hub",
        "left out",
        "missing receipt not reported",
        "missing receipt refused",
        "model not sealed to",
        "no key",
        "no new key",
        "not opened",
        "not served",
        "not understood",
        "our update is missing in the model",
        "our update was not used",
        "places not listed",
        "privacy record",
        "traceback not kept",
        "versions",
        "workload log refused",
        "workload not understood",
        "workload report refused",
        "workloads not ended",
    }
)
"""What may pass, or is somebody else's fault."""
_ORDER: Mapping[Level, int] = {"info": 0, "warning": 1, "error": 2}


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """level: lines below it are not written. format: json for programs, text for people."""

    level: Level = "info"
    format: Literal["json", "text"] = "json"


def level_of(what: str, outcome: object = None) -> Level:
    """outcome: of an entry, e.g. done or failed."""
    if what in ERRORS:
        return "error"
    failed = isinstance(outcome, str) and outcome.startswith("failed")
    return "warning" if failed or what in WARNINGS else "info"


def line_of(settings: LogSettings, at: str, site: str, what: str, facts: Mapping[str, object]) -> str | None:
    """One line, without its end; None if it is below the level. at: as it is shown. Facts of None are left out."""
    level = level_of(what, facts.get("outcome"))
    if _ORDER[level] < _ORDER[settings.level]:
        return None
    said = {name: fact for name, fact in facts.items() if fact is not None}
    if settings.format == "json":
        own = {"at": at, "level": level, "site": site, "what": what}
        facts = {f"its_{name}" if name in own else name: fact for name, fact in said.items()}
        return json.dumps({**own, **facts}, default=repr)
    words = " ".join(f"{name}={_word(fact)}" for name, fact in said.items())
    return shown(f"{at} {level.upper():7} {site}: {what}{' ' if words else ''}{words}", MAX_LINE)


MAX_LINE = 4000


def _word(fact: object) -> str:
    text = fact if isinstance(fact, str) else json.dumps(fact, default=repr)
    return json.dumps(text, ensure_ascii=False) if not text or any(sign in text for sign in ' ="') else text


def write_line(line: str | None, to: TextIO | None) -> None:
    """A full disk, or a closed file, is no reason to work no more."""
    if line is not None:
        with suppress(OSError, ValueError):
            print(line, file=to, flush=True)
