"""Restrictions: one text for all that says the same, whichever of the announced forms it came in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.streams.restrictions import MAX_DEPTH, NoRestrictions, canonical

SAME = [
    ("{}", "{}"),
    ({}, "{}"),
    ('"{}"', "{}"),
    ("'{}'", "{}"),
    ({"b": [1, 2], "a": None}, '{"a":null,"b":[1,2]}'),
    ("{'b': [1, 2], 'a': None}", '{"a":null,"b":[1,2]}'),
    ('{"b":[1.0,2e0],"a":null}', '{"a":null,"b":[1,2]}'),
    ("{'gdpr': True, 'age': 17.5}", '{"age":17.5,"gdpr":true}'),
    ("""{'it': 'it\\'s', "q": "a \\"b\\"", 'u': '\\xe9\\u20ac\\U0001f600\\n\\\\'}""", None),
    ("[1, [2, {'a': []}]]", '[1,[2,{"a":[]}]]'),
    ("null", "{}"),
    ("None", "{}"),
    (None, "{}"),
    ("", "{}"),
    (" ", "{}"),
    ("5", "5"),
    ('"5"', '"5"'),
    ('"abc"', '"abc"'),
    ("-0.0", "0"),
    ("1208925819614629174706176", "1.2089258196146292e24"),
]
UNREADABLE = [
    "abc",
    "{",
    "{'a'}",
    "{'a',}",
    "{'a': 1",
    "{'a': 1}}",
    "{1: 2}",
    '{"a": NaN}',
    "{'a': nan}",
    "1e400",
    "9" * 400,
    "9" * 5000,
    "1208925819614629174706177",
    "(1,)",
    "{'a': b'b'}",
    "{'a': '\\q'}",
    "{'a': '\\ud800'}",
    "{'a': '\\UFFFFFFFF'}",
    "'a' 'b'",
    "1 2",
    "__import__('os').system('true')",
    "[" * 3000,
    "{'a':" * 3000,
    "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
]


@pytest.mark.parametrize(("announced", "text"), SAME, ids=str)
def test_one_text_for_all_that_says_the_same(announced: object, text: str | None) -> None:
    expected = text or json.dumps(
        {"it": "it's", "q": 'a "b"', "u": "é€😀\n\\"}, ensure_ascii=False, separators=(",", ":")
    )
    assert canonical(announced) == expected


@pytest.mark.parametrize(
    "announced", [*UNREADABLE, {"a": object()}, {1: 2}, float("inf")], ids=range(len(UNREADABLE) + 3)
)
def test_what_cannot_be_read_is_refused_and_not_quoted(announced: object) -> None:
    with pytest.raises(NoRestrictions) as refused:
        canonical(announced)
    assert "system" not in str(refused.value)


_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab'\"\\\n", max_size=3), inner, max_size=3),
    max_leaves=8,
)
_objects = st.dictionaries(st.sampled_from("abc"), _values, max_size=3)


@settings(max_examples=150, deadline=None)
@given(_objects)
def test_every_form_of_an_object_says_the_same(value: object) -> None:
    text = canonical(value)
    assert canonical(json.dumps(value)) == text
    assert canonical(json.dumps(json.dumps(value))) == text
    assert canonical(repr(value)) == text
    assert deeply_equal(json.loads(text), value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_texts_are_equal_where_restrictions_are_deeply_equal(data: st.DataObject) -> None:
    few = st.dictionaries(
        st.sampled_from("ab"), st.sampled_from([0, 1, 1.0, True, False, None, "1", [], {}]), max_size=2
    )
    one, other = data.draw(few), data.draw(few)
    assert (canonical(one) == canonical(other)) == deeply_equal(one, other)


def deeply_equal(one: object, other: object) -> bool:
    """The slow, obvious form: JSON's kinds first, then what is inside."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(deeply_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(deeply_equal, one, other))
    return one == other
