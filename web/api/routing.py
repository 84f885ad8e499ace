"""Every operation of the API, and the map of paths that finds one, made once for all apps of a process."""

from __future__ import annotations

import functools
from types import ModuleType

from werkzeug.routing import BaseConverter, Map, Rule

from web.api import (
    accounts,
    artifacts,
    commands,
    enrolments,
    heads,
    inbox,
    keys,
    logs,
    me,
    messages,
    openapi,
    operators,
    organisations,
    projects,
    recovery,
    runs,
    sites,
    tokens,
)
from web.http.operations import Operation
from web.http.parsing import PATH_COUNT, PATH_ID

NOUNS: tuple[ModuleType, ...] = (
    me,
    organisations,
    accounts,
    tokens,
    enrolments,
    sites,
    keys,
    recovery,
    projects,
    runs,
    logs,
    messages,
    artifacts,
    inbox,
    heads,
    commands,
    operators,
    openapi,
)


def operations() -> list[Operation]:
    """Every call of the API."""
    return [operation for noun in NOUNS for operation in noun.OPERATIONS]


class IdConverter(BaseConverter):
    """An id in canonical form; anything else is no path of ours: 404."""

    regex = PATH_ID


class CountConverter(BaseConverter):
    """A whole number without sign or leading zeros."""

    regex = PATH_COUNT

    def to_python(self, value: str) -> int:
        return int(value)


@functools.cache
def url_map() -> Map:
    """Which path and method is which operation, by the operation's name. Werkzeug compiles each rule into code of its
    own, which takes longer than everything else that an app is made of."""
    return Map(
        [Rule(one.rule, endpoint=one.name, methods=[one.method]) for one in operations()],
        converters={"id": IdConverter, "count": CountConverter},
        strict_slashes=True,
        redirect_defaults=False,
        merge_slashes=False,
    )
