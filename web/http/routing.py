"""Which path and method is which operation: a table of operations, and the map that is made of it.

Werkzeug compiles each rule. Whoever makes many apps of one table makes its routing once, and hands it to each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from werkzeug.routing import BaseConverter, Map, Rule

from domain.streams.door import SECRET
from web.http.operations import Operation
from web.http.parsing import PATH_COUNT, PATH_FILE, PATH_ID, PATH_NAME


class IdConverter(BaseConverter):
    """An id in canonical form; anything else is no path of ours: 404."""

    regex = PATH_ID


class NameConverter(BaseConverter):
    """What people have named, as commands have it."""

    regex = PATH_NAME


class CountConverter(BaseConverter):
    """A whole number without sign or leading zeros."""

    regex = PATH_COUNT

    def to_python(self, value: str) -> int:
        return int(value)


class FileConverter(BaseConverter):
    """The name of a job's file."""

    regex = PATH_FILE


class DoorConverter(BaseConverter):
    """The secret of an attempt."""

    regex = SECRET


class FindingRule(Rule):
    """Finds an operation and makes no path of it, which nobody asks for: to compile that takes six sevenths of the
    time."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:  # noqa: ARG002 - Werkzeug's
        return _no_path


def _no_path(*_: object) -> tuple[str, str]:
    raise AssertionError("a path is made by hand")


@dataclass(frozen=True)
class Routing:
    """url_map: finds an operation's name."""

    operations: tuple[Operation, ...]
    url_map: Map


def routing_of(operations: Iterable[Operation]) -> Routing:
    """Compile the map of these operations. Their names differ."""
    table = tuple(operations)
    return Routing(
        table,
        Map(
            [FindingRule(one.rule, endpoint=one.name, methods=[one.method]) for one in table],
            converters={
                "id": IdConverter,
                "count": CountConverter,
                "file": FileConverter,
                "name": NameConverter,
                "door": DoorConverter,
            },
            strict_slashes=True,
            redirect_defaults=False,
            merge_slashes=False,
        ),
    )
