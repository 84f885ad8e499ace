"""One line for each unit of work, on standard error. Values are ids, states, counts and times, never payloads.

As JSON, for programs; at a terminal, for people.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from config.faults import OURS, fault
from fedyard.wire.forgiving import forgive
from fedyard.wire.shown import MAX_LINE, shown

Form: TypeAlias = Literal["auto", "json", "text"]

_FIELDS = "unit"
_MORE = "units"
T = TypeVar("T")
_encode = msgspec.json.Encoder(enc_hook=str).encode


def at_a_terminal() -> bool:
    """Do people read standard error as it is written?"""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def unit(**facts: object) -> dict[str, Any]:
    """The `extra` of a log call: `log.info("decided", extra=unit(command=..., ms=...))`."""
    return {_FIELDS: facts}


def info_each(log: logging.Logger, what: Callable[[T], tuple[str, dict[str, Any]]], things: Iterable[T]) -> None:
    """One line for each thing, written together: `what` makes its sentence and the facts of its unit."""
    if not log.isEnabledFor(logging.INFO):
        return
    units = [what(thing) for thing in things]
    if units:
        log.info("%s", units[0][0], extra={_FIELDS: units[0][1], _MORE: units[1:]})


class JsonLines(logging.Formatter):
    """Time (seconds, UTC), level, role of the process, where from, what, and the unit's facts."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Never raises: a line that cannot be written as it is says so."""
        try:
            return self._lines(record)
        except Exception as error:  # noqa: BLE001 - any fact may be of a kind that has no text
            head = {"at": round(record.created, 6), "level": record.levelname, "role": self._role, "from": record.name}
            return json.dumps({**head, "what": repr(record.msg), "unsaid": type(error).__name__})

    def _lines(self, record: logging.LogRecord) -> str:
        head = {"at": round(record.created, 6), "level": record.levelname, "role": self._role, "from": record.name}
        line = {**head, "what": record.getMessage(), **getattr(record, _FIELDS, {})}
        if record.exc_info and record.exc_info[0] is not None:
            line.update(fault(record.exc_info[1]) if record.exc_info[1] else {"error": record.exc_info[0].__name__})
        more = getattr(record, _MORE, ())
        return b"\n".join([_encode(line), *(_encode({**head, "what": what, **facts}) for what, facts in more)]).decode()


class HumanLines(JsonLines):
    """The same for people: time of day, level unless it is INFO, what, facts. Nothing in it steers a terminal."""

    def _lines(self, record: logging.LogRecord) -> str:
        return "\n".join(self._human(record, json.loads(line)) for line in super()._lines(record).splitlines())

    @staticmethod
    def _human(record: logging.LogRecord, line: dict[str, Any]) -> str:
        at = datetime.fromtimestamp(record.created).astimezone()
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        facts = "  ".join(f"{name}={_fact(value)}" for name, value in line.items() if name not in _HEAD)
        return shown(f"{at:%H:%M:%S} {level}{line['what']}" + (f"  {facts}" if facts else ""), MAX_LINE)


_HEAD = ("at", "level", "role", "from", "what")


def _fact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _worth_a_line(record: logging.LogRecord) -> bool:
    """False for what Dramatiq says in vain."""
    said = str(record.msg)
    if said.startswith("You're adding a middleware of the same type twice"):
        return "_WorkerMiddleware" not in record.getMessage()
    return not said.startswith("Consumer encountered a connection error")


def set_up_logs(role: str, level: str, form: Form = "auto") -> None:
    """Log to standard error; the libraries' own chatter only from WARNING on. form: auto is text at a terminal.

    pika says each lost connection in a dozen ERROR lines with tracebacks, and Dramatiq in one for each queue and try;
    who uses them says it in one. Of a broker with two workers, as the embedded hub has, Dramatiq warns at every start
    that both bring its own middleware.
    """
    forgive()
    logging.raiseExceptions = False
    out = logging.StreamHandler(sys.stderr)
    for_people = form == "text" or (form == "auto" and at_a_terminal())
    out.setFormatter(HumanLines(role) if for_people else JsonLines(role))
    out.addFilter(_worth_a_line)
    # A unit says what it is about; where in the code, by which thread and process it was said nobody asks.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(logging.WARNING)
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    for ours in OURS:
        logging.getLogger(ours).setLevel(level)
