"""Workloads at the page: what is asked of them is the command of the API, and logs are for who may read them."""

from __future__ import annotations

import pytest

from domain.codec import THE_HUB, envelope_of
from domain.commands import FollowWorkload, ScaleWorkload, StopWorkload, WriteWorkloadLog
from domain.ids import derive
from domain.values import WorkloadSpec
from tests.page.callers import Browser, signed_in
from tests.page.scenes import Scene
from web.page.workloads import said_of

HIDING = "paid \u202eton\u202c \x1b[8m\n"
"""Reordered, and a sequence that hides what follows."""
TAIL = "FileNotFoundError: labels.csv"


@pytest.fixture
def coordinator(scene: Scene) -> Browser:
    return signed_in(scene.net.app, scene.tokens["coordinator"])


def href(scene: Scene, name: str = "workload") -> str:
    return f"/page/workloads/{scene.names[name]}"


def test_a_service_is_scaled(scene: Scene, coordinator: Browser) -> None:
    coordinator.get(href(scene))
    answered = coordinator.post(f"{href(scene)}/replicas", {"replicas": "3"}, follow=True)
    assert answered.status_code == 200
    assert "Done: scale workload." in coordinator.shown
    sent = [one.command for one in scene.net.publisher.sent if isinstance(one.command, ScaleWorkload)]
    assert sent == [ScaleWorkload(workload_id=scene.names["workload"], replicas=3)]


@pytest.mark.parametrize("replicas", ["", "-1", "many"])
def test_a_number_of_replicas_that_is_none_is_said_at_its_field(
    scene: Scene, coordinator: Browser, replicas: str
) -> None:
    coordinator.get(href(scene))
    assert coordinator.post(f"{href(scene)}/replicas", {"replicas": replicas}).status_code == 400
    assert 'id="f-replicas-error"' in coordinator.shown
    assert not [one for one in scene.net.publisher.sent if isinstance(one.command, ScaleWorkload)]


def test_one_is_stopped_with_why(scene: Scene, coordinator: Browser) -> None:
    coordinator.get(href(scene))
    coordinator.post(f"{href(scene)}/stop", {"reason": "too dear"}, follow=True)
    assert "It was told to go" in coordinator.shown
    assert "too dear" in coordinator.shown
    sent = [one.command for one in scene.net.publisher.sent if isinstance(one.command, StopWorkload)]
    assert sent == [StopWorkload(workload_id=scene.names["workload"], reason="too dear")]


def test_a_log_is_for_those_who_coordinate(scene: Scene, coordinator: Browser, browser_caller: Browser) -> None:
    failed = href(scene, "workload_failed")
    assert TAIL in coordinator.get(failed).get_data(as_text=True)
    shown = browser_caller.get(failed).get_data(as_text=True)
    assert TAIL not in shown
    assert "98 bytes" in shown
    assert "Back-off restarting failed container" in shown


def test_a_log_is_followed_while_it_is_written(scene: Scene, coordinator: Browser, browser_caller: Browser) -> None:
    ident, following = scene.names["workload"], f"{href(scene)}?follow=true"
    assert "Nothing has come yet" in coordinator.get(following).get_data(as_text=True)
    assert [one.command for one in scene.net.publisher.sent if isinstance(one.command, FollowWorkload)] == [
        FollowWorkload(workload_id=ident, attempt=1)
    ]
    piece = WriteWorkloadLog(
        workload_id=ident, attempt=1, start=0, body=b"epoch 1\r\nepoch <b>2</b>\n" + HIDING.encode()
    )
    scene.net.publisher.send([envelope_of(piece, id=derive("piece"), by=THE_HUB, at=scene.clock.now())])
    assert "epoch &lt;b&gt;2&lt;/b&gt;" in coordinator.get(following).get_data(as_text=True)
    assert r"paid \u202eton\u202c \x1b[8m" in coordinator.shown
    others = browser_caller.get(following).get_data(as_text=True)
    assert "epoch" not in others
    assert "is read by people of the" in others


def test_an_attempt_that_was_not_made_shows_no_log(scene: Scene, coordinator: Browser) -> None:
    answered = coordinator.get(f"{href(scene, 'workload_failed')}?attempt=7")
    assert answered.status_code == 200
    assert TAIL not in answered.get_data(as_text=True)


def test_what_has_ended_is_renewed_no_more(scene: Scene, coordinator: Browser) -> None:
    failed, running = href(scene, "workload_failed"), href(scene)
    assert f"{failed}/live" not in coordinator.get(failed).get_data(as_text=True)
    assert f"{running}/live" in coordinator.get(running).get_data(as_text=True)


def test_what_was_asked_for_is_said_as_far_as_anything_was() -> None:
    spec = WorkloadSpec(kind="job", image="a:1", arguments=["--note", "two words"], environment={"A": "1"})
    said = dict(said_of(spec))
    assert (said["kind"], said["image"], said["arguments"]) == ("job", "a:1", "--note 'two words'")
    assert said["environment"] == '{"A":"1"}'
    assert "command" not in said
