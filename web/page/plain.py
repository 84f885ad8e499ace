"""What is wrong with a field, as people say it."""

from __future__ import annotations

import re

from fedyard.wire.problems import Problem

_WORDS = (
    (r"Expected `int` >= (\S+)", "a whole number, {} or more"),
    (r"Expected `int` <= (\S+)", "a whole number, {} at most"),
    (r"Expected `int`.*", "a whole number"),
    (r"Expected `float` >= (\S+)", "a number, {} or more"),
    (r"Expected `float` > (\S+)", "a number above {}"),
    (r"Expected `float` <= (\S+)", "a number, {} at most"),
    (r"Expected `float`.*", "a number"),
    (r"Expected `str` of length <= (\S+)", "{} characters at most"),
    (r"Expected `str` of length >= 1", "it is needed"),
    (r"Expected `str` of length >= (\S+)", "{} characters or more"),
    (r"Expected `str` matching regex '\^\[0-9a-f\]\{8\}.*", "an id: 36 letters, digits and dashes"),
    (r"Invalid enum value; it is one of (.*)", "one of {}"),
)
_WHERE = re.compile(r"^(?:body|query): | - at `\$[^`]*`")
_MISSING = "Object missing required field"


def in_words(rule: str) -> str:
    """A rule of a type as people say it; one that has no other words stays as it is."""
    for pattern, words in _WORDS:
        found = re.fullmatch(pattern, rule)
        if found is not None:
            return words.format(*(part.removesuffix(".0") for part in found.groups()))
    return rule


def at_field(problem: Problem) -> str:
    """A problem as it is said at the field that it is about: programs read which one that is in its sentence."""
    rule = _WHERE.sub("", problem.detail)
    return "it is needed" if rule.startswith(_MISSING) else in_words(rule)
