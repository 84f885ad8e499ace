"""What is said of a hook that failed: a sentence that may leave the site, and the whole traceback, which stays."""

from __future__ import annotations

import sys
import sysconfig
import traceback
import zipfile
from collections.abc import Mapping
from pathlib import Path

from fedyard.tasks import TaskError
from fedyard.wire.shown import shown

MAX_REASON = 500
MAX_NAME = 60
"""Characters of a class, a file or a function in a reason."""
MAX_TRACE = 65_536
"""Characters of a traceback; of a longer one the beginning and the end, where the reason is."""

_WORDS: Mapping[type[BaseException], str] = {
    MemoryError: "there was not enough memory",
    FileNotFoundError: "a file is not there",
    PermissionError: "a file may not be read or written by this site's agent",
    UnicodeError: "a file, or a name, is no text in the encoding that the task expects",
    zipfile.BadZipFile: "a file is no zip archive, or is damaged",
    EOFError: "a file ends too early",
    OSError: "a file or a device failed",
    ImportError: "a Python package is missing at this site, or another version of it is there",
    SyntaxError: "the task's file is no valid Python",
    RecursionError: "the task called itself too often",
    ArithmeticError: "a calculation has no result",
    KeyError: "something that the task looks up by name is not there",
}
"""The first class that an exception is of says what to tell people of it; the order is that of the table."""


def reason_of(error: BaseException, hook: str) -> str:
    """What may leave the site: a TaskError's own sentence, or what an exception of that class means; and the innermost
    line of the task's own file that it went through. Neither its text nor a value.
    """
    place = _place(error)
    if isinstance(error, TaskError):
        begin, end = f"{hook}: {shown(text_of(error), MAX_REASON)}", f" ({place})" if place else ""
    else:
        what = next((words for kind, words in _WORDS.items() if isinstance(error, kind)), "the task has a fault")
        begin, end = f"{hook}: {what} ({_class(error)})", f", in {place}" if place else ""
    return (begin[: max(0, MAX_REASON - len(end))] + end)[:MAX_REASON]


def trace_of(error: BaseException) -> str:
    """The whole traceback with the exception's text, for this site's own people: it may show data."""
    try:
        text = "".join(traceback.TracebackException.from_exception(error).format())
    except Exception:  # noqa: BLE001 - a task may raise anything, also an object with a fault of its own
        text = "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
    if len(text) > MAX_TRACE:
        begin, end = text[: MAX_TRACE // 4], text[-MAX_TRACE // 2 :]
        text = f"{begin}\n... {len(text) - len(begin) - len(end)} characters more ...\n{end}"
    return "\n".join(shown(line, MAX_TRACE) for line in text.splitlines())[:MAX_TRACE]


def text_of(what: object) -> str:
    """Its text, if it has one."""
    try:
        return str(what)
    except Exception:  # noqa: BLE001 - a task may raise anything, also an object with a fault of its own
        return "the task said why, in a text that cannot be shown"


_NOT_OWN = (
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    sysconfig.get_path("platlib"),
    str(Path(__file__).absolute().parents[1]),
    "<frozen",
)
"""Where files lie that are none of a task: Python's, its packages', and ours."""


def _place(error: BaseException) -> str:
    """The innermost line of the task's own file; empty if there is none. Made code has no file, and comes last."""
    frames = [(one.filename, one.lineno, one.name) for one in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno, "<module>"))
    own = [one for one in frames if not one[0].startswith(_NOT_OWN)]
    found = [one for one in own if not one[0].startswith("<")] or own
    if not found:
        return ""
    file, line, function = found[-1]
    where = "" if function.startswith("<") else f", in {_name(function)}"
    return f"line {line} of the task's {_name(Path(file).name)}{where}"


def _class(error: BaseException) -> str:
    """The name of its class, or of the nearest one above that stands in a module: no name that a task makes of data."""
    named = next(
        kind for kind in type(error).__mro__ if getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind
    )
    return _name(named.__name__)


def _name(text: str) -> str:
    return shown(text[:MAX_NAME])
