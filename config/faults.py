"""What may be said of an error that nobody expected: class, place, and its text where that quotes nobody.

A text may quote what somebody sent (a `KeyError` its key, a database's `DataError` a row's value), and a log holds no
payloads, keys or tokens. So only the texts of those kinds are said that are known to be made of our own words, or of
the system's: names of files, tables and attributes.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

MAX_SAID = 300
PLACES = 6
_ROOT = Path(__file__).resolve().parent.parent
OURS = ("actors", "broker", "config", "devservers", "domain", "fedyard", "k8s", "ops", "storage", "web")
"""Packages whose errors quote nothing of what was sent."""
_SPEAKING = (AssertionError, AttributeError, ImportError, MemoryError, NameError, RecursionError, NotImplementedError)
_DATABASE_DATA = "22"
"""SQLSTATE's class of data exceptions, whose texts quote values."""


def fault(error: BaseException) -> dict[str, object]:
    """For a log's `unit`: error, its class; said, its text, or nothing; at, files and lines, the innermost last."""
    said = _said(error)
    return {"error": type(error).__name__, **({"said": said} if said else {}), "at": _places(error)}


def in_a_line(error: BaseException) -> str:
    """The same in a sentence: `OSError (No space left on device: /var/x) at broker/journal.py:120 write`."""
    said, places = _said(error), _places(error)
    return f"{type(error).__name__}{f' ({said})' if said else ''}{f' at {places[-1]}' if places else ''}"


def of_the_system(error: OSError) -> str:
    """`No space left on device: /var/fedyard/x`: what the system said, and of which file."""
    names = [str(name) for name in (error.filename, error.filename2) if isinstance(name, str | Path)]
    return ": ".join([error.strerror or type(error).__name__, *names])


def _said(error: BaseException) -> str:
    text = ""
    if isinstance(error, OSError):
        text = of_the_system(error)
    elif isinstance(error, _SPEAKING) or type(error).__module__.partition(".")[0] in OURS:
        text = str(error)
    else:
        text = _of_a_database(error)
    return (text.strip().splitlines() or [""])[0][:MAX_SAID]


def _of_a_database(error: BaseException) -> str:
    """Its main sentence, without the row and the statement; nothing where it quotes a value."""
    inner = getattr(error, "orig", error)  # peewee wraps the driver's
    if isinstance(inner, sqlite3.Error):
        return str(inner)
    state, told = getattr(inner, "pgcode", None), getattr(getattr(inner, "diag", None), "message_primary", None)
    if not isinstance(state, str) or not isinstance(told, str) or state.startswith(_DATABASE_DATA):
        return ""
    return f"{state} {told}"


def _places(error: BaseException) -> list[str]:
    found = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append(f"{_short(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return found[-PLACES:]


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else "/".join(path.parts[-2:])
