"""What is said at a field, as a table of examples."""

from __future__ import annotations

import pytest

from fedyard.wire.problems import Problem
from fedyard.wire.types import UUID_PATTERN
from web.page.plain import at_field

AN_ID = "an id: 36 letters, digits and dashes"


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("body: Expected `str` of length >= 1 - at `$.name`", "it is needed"),
        ("body: Expected `str` of length >= 10 - at `$.url`", "10 characters or more"),
        ("body: Expected `float` >= 1.0 - at `$.finish_within_s`", "a number, 1 or more"),
        (f"body: Expected `str` matching regex '^{UUID_PATTERN}(?!\\n)$' - at `$.site_id`", AN_ID),
        ("body: Object missing required field `name`", "it is needed"),
        ("body: Object missing required field `name` - at `$.tasks[0]`", "it is needed"),
        ("body: Invalid enum value - at `$.role`; it is one of admin, member", "one of admin, member"),
        ("there is another project with the name Sepsis", "there is another project with the name Sepsis"),
    ],
)
def test_a_rule_is_said_without_the_words_of_programs(detail: str, said: str) -> None:
    assert at_field(Problem(type="about:blank", title="", status=400, detail=detail)) == said
