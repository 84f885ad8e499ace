"""What was typed, as a body has it."""

from __future__ import annotations

from fedyard.look.forms import Form


def test_names_with_dots_are_places_in_the_body() -> None:
    form = Form(
        {
            "name": ["lung"],
            "tasks.1.name": ["evaluate"],
            "tasks.0.name": ["train"],
            "tasks.0.contract.quorum": ["2"],
            "sites": ["a", "b"],
            "notes": [""],
            "_csrf": ["secret"],
        }
    )
    assert form.body() == {
        "name": "lung",
        "tasks": [{"name": "train", "contract": {"quorum": "2"}}, {"name": "evaluate"}],
        "sites": ["a", "b"],
    }
    assert form.body("tasks") == {"tasks": [{"name": "train", "contract": {"quorum": "2"}}, {"name": "evaluate"}]}


def test_a_name_that_is_both_a_field_and_holds_others_harms_nothing() -> None:
    assert Form({"a": ["1"], "a.b": ["2"]}).body() == {"a": "1"}
    assert Form({"a.b": ["2"], "a": ["1"]}).body() == {"a": {"b": "2"}}


def test_names_that_no_form_of_ours_has_harm_nothing() -> None:
    assert Form({"a" + ".b" * 3000: ["1"], "c": ["2"]}).body() == {"c": "2"}
    long = "9" * 5000
    assert Form({f"a.{long}": ["1"]}).body() == {"a": {long: "1"}}


def test_a_form_shows_no_value_where_it_is_printed() -> None:
    form = Form.of(token="fyd_secret", boxes=["x", "y"], nothing=None)
    assert repr(form) == "Form(boxes, nothing, token)"
    assert (form.value("token"), form.has("boxes", "y"), form.value("nothing"), form.value("other", "else")) == (
        "fyd_secret",
        True,
        "",
        "else",
    )
    assert form.with_error("token", "is used up").error("token") == "is used up"
