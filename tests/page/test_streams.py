"""Streams at the page: what came of announcements, and what people do with records that nobody understood."""

from __future__ import annotations

import pytest

from domain.stream_commands import PurgeRecords, ReplayRecord, WithdrawDataSource
from tests.page.callers import Browser, signed_in
from tests.page.scenes import Scene
from web.page.streams import TEXT_SHOWN, Held, held

HREF = "/page/streams"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (None, None),
        (b"", Held("")),
        (b"{not json\n\t", Held("{not json\n\t")),
        ("é".encode(), Held("é")),
        (b"\x07", Held("07", "in hexadecimal")),
        (b"\xff\xfe", Held("ff fe", "in hexadecimal")),
        (b"x" * (TEXT_SHOWN + 1), Held("x" * TEXT_SHOWN, "the first 4,096 characters")),
        (b"\x00" * 9000, Held(("00 " * 9000)[:TEXT_SHOWN], "in hexadecimal, the first 4,096 characters")),
    ],
)
def test_what_a_record_holds_is_shown_as_what_it_is(content: bytes | None, shown: Held | None) -> None:
    assert held(content) == shown


def test_what_was_announced_is_drawn_with_what_came_of_it(scene: Scene, browser_caller: Browser) -> None:
    shown = browser_caller.get(HREF).get_data(as_text=True)
    arrow = "\N{RIGHTWARDS ARROW}"
    assert f"<li>data:0:0:5 {arrow} deployment 98</li>" in shown
    assert f"<li>chest-x-rays {arrow} match 7</li>" in shown
    assert f"<li>fed-triage {arrow} match 7</li>" in shown
    assert f'href="/page/workloads/{scene.names["workload"]}"' in shown


def test_what_a_record_holds_is_for_admins_alone(scene: Scene) -> None:
    href = f"{HREF}/quarantine/{scene.names['quarantined']}"
    for who, shown in (("admin", True), ("auditor", False)):
        page = signed_in(scene.net.app, scene.tokens[who]).get(href).get_data(as_text=True)
        assert ("{not json" in page, "Admins alone are shown it" in page) == (shown, not shown)


def test_a_record_is_purged_and_that_was_the_command_of_the_api(scene: Scene, browser_caller: Browser) -> None:
    href = f"{HREF}/quarantine/{scene.names['quarantined']}"
    browser_caller.get(href)
    answered = browser_caller.post(f"{href}/purge", follow=True)
    assert answered.status_code == 200
    assert "Done: purge records." in browser_caller.shown
    assert [one.command for one in scene.net.publisher.sent if isinstance(one.command, PurgeRecords)] == [
        PurgeRecords(record_ids=[scene.names["quarantined"]])
    ]


def test_what_cannot_be_understood_still_is_shown_with_why(scene: Scene, browser_caller: Browser) -> None:
    href = f"{HREF}/quarantine/{scene.names['quarantined']}"
    browser_caller.get(href)
    answered = browser_caller.post(f"{href}/replay", {"deployment": "98"})
    assert answered.status_code == 422
    assert "cannot be understood" in browser_caller.shown
    assert 'value="98"' in browser_caller.shown
    sent = [one.command for one in scene.net.publisher.sent if isinstance(one.command, ReplayRecord)]
    assert sent == [ReplayRecord(record_id=scene.names["quarantined"], deployment_number=98)]


def test_a_number_that_is_none_is_said_at_its_field(scene: Scene, browser_caller: Browser) -> None:
    href = f"{HREF}/quarantine/{scene.names['quarantined']}"
    browser_caller.get(href)
    answered = browser_caller.post(f"{href}/replay", {"deployment": "-4"})
    assert answered.status_code == 400
    assert 'id="f-deployment-error"' in browser_caller.shown


def test_what_a_record_holds_is_for_admins(scene: Scene) -> None:
    auditor = signed_in(scene.net.app, scene.tokens["auditor"])
    shown = auditor.get(f"{HREF}/quarantine/{scene.names['quarantined']}").get_data(as_text=True)
    assert "{not json" not in shown
    assert "Purge it" not in shown


def test_others_see_no_quarantine(scene: Scene) -> None:
    member = signed_in(scene.net.app, scene.tokens["member"])
    assert member.get(f"{HREF}/quarantine").status_code == 403
    assert member.get(f"{HREF}/quarantine/{scene.names['quarantined']}").status_code == 403
    assert "Quarantine" not in member.get(HREF).get_data(as_text=True)


def test_data_are_withdrawn(scene: Scene, browser_caller: Browser) -> None:
    browser_caller.get(f"{HREF}/data")
    source = scene.names["data_source"]
    assert browser_caller.post(f"{HREF}/data/{source}/withdraw").status_code == 303
    sent = [one.command for one in scene.net.publisher.sent if isinstance(one.command, WithdrawDataSource)]
    assert sent == [WithdrawDataSource(data_source_id=source)]
    assert browser_caller.post(f"{HREF}/data/{scene.names['project']}/withdraw").status_code == 404
    assert "Nothing was changed." in browser_caller.shown
