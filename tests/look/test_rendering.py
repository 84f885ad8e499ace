"""The templates that both faces have, and the files that they load."""

from __future__ import annotations

import gzip
import hashlib
import re
from enum import StrEnum

import pytest
from jinja2 import UndefinedError

from domain import states
from fedyard.look.assets import FOLDERS, assets, by_name
from fedyard.look.forms import Form
from fedyard.look.rendering import TEMPLATES, asset, environment
from fedyard.look.states import _TONES, TONES, tone_of

WHOLE_PAGE_BYTES = 150_000
ENVIRONMENT = environment([])
FIELDS = [("name", "text"), ("site", "select"), ("note", "textarea")]


def rendered(text: str, **facts: object) -> str:
    return ENVIRONMENT.from_string(text).render(**facts)


def test_files_are_named_by_what_is_in_them_and_zipped_as_they_are() -> None:
    for plain, one in assets().items():
        digest = hashlib.sha256(one.content).hexdigest()
        assert digest.startswith(re.fullmatch(r".+-([0-9a-f]{12})\.\w+", one.name)[1]), plain
        assert gzip.decompress(one.zipped) == one.content
        assert by_name()[one.name] is one
    assert asset("page.css").startswith("/static/page-")
    with pytest.raises(KeyError):
        asset("nothing.css")


def test_all_that_a_page_may_load_is_light() -> None:
    assert sum(len(one.zipped) for one in assets().values()) < WHOLE_PAGE_BYTES / 2


def test_no_file_of_ours_asks_another_host_or_is_inline() -> None:
    ours = [path for path in FOLDERS[0].iterdir() if path.suffix in (".css", ".js")] + list(TEMPLATES.iterdir())
    for path in ours:
        text = path.read_text()
        assert not re.search(r"https?://|//cdn|@import|url\(", text), path.name
        assert not re.search(
            r"<style|<script(?! src)| style=| on[a-z]+=\"|javascript:|\|\s*safe|eval\(|innerHTML", text
        ), path.name


def test_a_field_says_its_label_its_help_and_what_is_wrong() -> None:
    form = Form.of(name="<oslo>").with_error("name", "is taken")
    shown = rendered('{{ parts.field(form, "name", "Name", "As people see it", required=True) }}', form=form)
    assert '<label for="f-name">Name</label>' in shown
    assert 'value="&lt;oslo&gt;"' in shown
    assert 'aria-describedby="f-name-help f-name-error" aria-invalid="true"' in shown
    assert "is taken</p>" in shown


def test_the_first_field_that_is_wrong_has_the_focus_and_the_title_says_so() -> None:
    form = Form.of(name="Oslo", site="").with_error("site", "it is needed").with_error("name", "it is taken")
    fields = '{% extends "base.html" %}{% block title %}A{% endblock %}{% block content %}'
    fields += (
        "".join(f'{{{{ parts.field(form, "{name}", "Its", type="{kind}") }}}}' for name, kind in FIELDS)
        + "{% endblock %}"
    )
    begun, again = rendered(fields, form=Form()), rendered(fields, form=form)
    assert ("autofocus" in begun, "<title>A</title>" in begun) == (False, True)
    assert re.findall(r'name="(\w+)"[^>]* autofocus', again) == ["site"]
    assert ("<title>Error: A</title>" in again, "<h1>A</h1>" in again) == (True, True)


def test_an_empty_choice_can_be_sent() -> None:
    """A browser sends no form whose `required` select is at an empty value: none and any could not be chosen."""
    options = [("", "any state"), ("live", "live")]
    shown = rendered(
        '{{ parts.field(form, "state", "State", type="select", options=options, required=True) }}', options=options
    )
    assert ("required" in shown, "optional" in shown, '<option value="" selected>' in shown) == (False, False, True)


def test_a_password_is_not_shown_again() -> None:
    shown = rendered('{{ parts.field(form, "token", "Token", type="password") }}', form=Form.of(token="fyd_secret"))
    assert "fyd_secret" not in shown


def test_an_action_with_a_question_opens_first() -> None:
    at_once = rendered('{{ parts.button("/page/x", "c", "k", "Replay") }}')
    asked = rendered('{{ parts.button("/page/x", "c", "k", "Stop it", danger=True, confirm="For everybody?") }}')
    assert "<details" not in at_once
    assert "Yes: stop it" in asked
    for shown in (at_once, asked):
        assert 'name="_csrf" value="c"' in shown
        assert 'name="_key" value="k"' in shown


def test_what_a_template_was_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        rendered("{{ nobody }}")


def test_every_page_begins_with_what_base_has() -> None:
    shown = rendered('{% extends "base.html" %}{% block title %}A & B{% endblock %}')
    assert "<h1>A & B</h1>" in shown
    assert "<title>A & B</title>" in shown
    assert re.search(r'<main id="content".*role="status" aria-live="polite"', shown, re.DOTALL)


def test_each_state_of_the_hub_has_a_tone_of_its_own_choice() -> None:
    named = [kind for kind in vars(states).values() if isinstance(kind, type) and issubclass(kind, StrEnum)]
    words = {str(word) for kind in named if kind.__name__.endswith("State") for word in kind}
    assert len(words) > 50
    assert words - _TONES.keys() == set()


def test_each_tone_has_an_icon_and_a_colour() -> None:
    icons, css = (TEMPLATES / "icons.html").read_text(), (FOLDERS[0] / "page.css").read_text()
    for tone in TONES:
        assert f'id="i-{tone}"' in icons
        assert f".state.{tone}, .matrix td.{tone} {{" in css
        assert f".matrix td.{tone}::before" in css
    assert tone_of("a word of tomorrow") == "over"


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_stands_out_from_what_is_behind_it(theme: int) -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for borders of what is operated. theme: light, dark."""
    css = (FOLDERS[0] / "page.css").read_text()
    tokens = dict(
        re.findall(r"--([\w-]+): (#[0-9a-f]{6});", re.findall(r":root \{(.*?)\n\s*\}", css, re.DOTALL)[theme])
    )
    text = [(one, behind) for one in ("ink", "soft", "link", "bad", "warns") for behind in ("paper", "raised", "sunk")]
    text += [(tone, f"{tone}-bg") for tone in TONES] + [("on-strong", "link-strong"), ("paper", "bad")]
    shapes = [("edge", "paper"), ("edge", "raised"), ("focus", "paper"), ("focus", "raised")]
    shapes += [(f"curve-{number}", "raised") for number in range(1, 9)]
    assert {
        pair: contrast(tokens[pair[0]], tokens[pair[1]])
        for pair in text
        if contrast(tokens[pair[0]], tokens[pair[1]]) < 4.5
    } == {}
    assert {
        pair: contrast(tokens[pair[0]], tokens[pair[1]])
        for pair in shapes
        if contrast(tokens[pair[0]], tokens[pair[1]]) < 3
    } == {}
