"""Reading and acknowledging with marks, and the recovery of a site, over HTTP."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from config.clock import SystemClock
from domain import commands as c
from domain.codec import THE_HUB, envelope_of
from domain.ids import derive
from storage.history import read_history
from tests.web.network import Caller, Network
from tests.web.test_reads import message
from tests.web.test_refusals import slug


@pytest.fixture
def bergen(net: Network) -> Caller:
    """A site with three messages in its inbox."""
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    for body in (b"one", b"two", b"three"):
        oslo.ok("POST", "/v1/messages", message(project, [bergen.id], body))
    return bergen


def read(site: Caller, after: int, mark: str | None = None, wait: float = 0) -> Any:
    said = f"&mark={mark}" if mark else ""
    return site.call("GET", f"/v1/inbox?after={after}{said}&wait={wait}")


def test_every_answer_says_which_history(net: Network, bergen: Caller) -> None:
    inbox = bergen.ok("GET", "/v1/inbox?after=0")
    assert inbox["history_id"] == read_history(net.database).history_id
    marks = [item["mark"] for item in inbox["items"]]
    assert len(set(marks)) == len(marks) >= 3
    from_memory = read(bergen, inbox["last_seq"], marks[-1]).get_json()
    assert (from_memory["items"], from_memory["history_id"]) == ([], inbox["history_id"])


@pytest.mark.parametrize("wait", [0, 0.2])
def test_beyond_the_end(net: Network, bergen: Caller, wait: float) -> None:
    last_seq = bergen.ok("GET", "/v1/inbox")["last_seq"]
    for mark in (None, "0" * 32):
        answer = read(bergen, last_seq + 1, mark, wait)
        said = answer.get_json()
        assert (answer.status_code, slug(answer, 409)) == (409, "history_went_back")
        assert (said["history_id"], said["last_seq"]) == (read_history(net.database).history_id, last_seq)


def test_with_a_mark_that_is_not_the_hubs(bergen: Caller) -> None:
    """Of the newest entry (which memory knows), and of an older one."""
    items = bergen.ok("GET", "/v1/inbox?after=0")["items"]
    for _ in range(2):
        for item in items[-2:]:
            assert read(bergen, item["seq"], item["mark"]).status_code == 200
            assert slug(read(bergen, item["seq"], "0" * 32), 409) == "history_went_back"
            assert read(bergen, item["seq"]).status_code == 200
    assert read(bergen, 0, "0" * 32).status_code == 200


def test_an_entry_from_before_marks_is_taken_as_it_is(net: Network, bergen: Caller) -> None:
    items = bergen.ok("GET", "/v1/inbox?after=0")["items"]
    with net.database.connection():
        net.database.execute("UPDATE inbox SET mark = '' WHERE site_id = %s", (bergen.id,))
    assert read(bergen, items[-2]["seq"], "0" * 32).status_code == 200


def test_an_acknowledgement_says_the_mark(bergen: Caller) -> None:
    last = bergen.ok("GET", "/v1/inbox?after=0")["items"][-1]
    wrong = bergen.call("PUT", "/v1/inbox/acknowledged", {"through": last["seq"], "mark": "0" * 32})
    assert slug(wrong, 409) == "history_went_back"
    assert wrong.get_json()["last_seq"] == last["seq"]
    right = {"through": last["seq"], "mark": last["mark"]}
    assert bergen.ok("PUT", "/v1/inbox/acknowledged", right) == {"acknowledged_seq": last["seq"]}


def test_a_site_recovers(net: Network, bergen: Caller) -> None:
    """It holds two entries that the hub has forgotten."""
    items = bergen.ok("GET", "/v1/inbox?after=0")["items"]
    last = items[-1]
    held = [{"seq": last["seq"] + 2, "mark": "1" * 32}, {"seq": last["seq"] + 1, "mark": "2" * 32}]
    held += [{"seq": item["seq"], "mark": item["mark"]} for item in reversed(items[1:])]
    claim = {
        "last_seq": last["seq"] + 2,
        "marks": held,
        "seats": [{"run_id": bergen.id, "task_seq": 1, "report_seq": 2}],
    }
    answer = bergen.ok("POST", f"/v1/sites/{bergen.id}/recovery", claim)
    assert answer["common_seq"] == last["seq"]
    assert answer["read_after"] > last["seq"] + 1000
    assert answer["seats"][0]["run_state"] is None
    assert bergen.ok("POST", f"/v1/sites/{bergen.id}/recovery", claim) == answer
    inbox = read(bergen, answer["read_after"], answer["mark"]).get_json()
    assert (inbox["items"], inbox["last_seq"]) == ([], answer["read_after"])
    for seq, mark in ((answer["read_after"], "3" * 32), (last["seq"] + 2, "1" * 32)):
        assert slug(read(bergen, seq, mark), 409) == "history_went_back"
    oslo = net.site("lima")
    project = net.project(oslo, bergen)
    oslo.ok("POST", "/v1/messages", message(project, [bergen.id], b"then"))
    after = read(bergen, answer["read_after"], answer["mark"]).get_json()["items"]
    assert [item["seq"] for item in after] == list(
        range(answer["read_after"] + 1, answer["read_after"] + 1 + len(after))
    )
    assert read(bergen, answer["read_after"], answer["mark"]).status_code == 200
    events = bergen.ok("GET", f"/v1/sites/{bergen.id}/events")["items"]
    assert [event["kind"] for event in events].count("site_recovered") == 1


def test_claims_without_end_are_no_way_to_have_the_hub_move_an_inbox_again_and_again(
    make_net: Callable[..., Network],
) -> None:
    bergen = make_net(writes_per_s=50.0).site("bergen")
    path = f"/v1/sites/{bergen.id}/recovery"
    answers = [bergen.call("POST", path, {"last_seq": 1_000_000 + n}) for n in range(6)]
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    refused = [
        answer for answer in answers if answer.status_code != 200
    ]  # perhaps not the last: it is held for a while
    assert slug(refused[0], 429) == "rate_exceeded"


def test_nobody_recovers_for_another(net: Network, bergen: Caller) -> None:
    other = net.site("lima")
    assert slug(other.call("POST", f"/v1/sites/{bergen.id}/recovery", {"last_seq": 1}), 404) == "not_found"
    admin = net.admin.call("POST", f"/v1/sites/{bergen.id}/recovery", {"last_seq": 1})
    assert slug(admin, 403) == "forbidden"


def test_a_key_that_its_identity_did_not_sign_is_refused(bergen: Caller) -> None:
    key = {
        "epoch": 1,
        "public_key": "A" * 1622 + "==",
        "suite": 1,
        "created_at": 1,
        "expires_at": 2,
        "signature": b64encode(b"\1" * 64).decode(),
    }
    refused = bergen.call("POST", f"/v1/sites/{bergen.id}/recovery", {"last_seq": 0, "keys": [key]})
    assert slug(refused, 422) == "bad_signature"


def test_operators_see_that_the_history_changed(net: Network, bergen: Caller) -> None:
    def told() -> tuple[str | None, str]:
        return net.stranger(None).get("/readyz").get_json()["history"], net.admin.call("GET", "/metrics").get_data(
            as_text=True
        )

    history, metrics = told()
    assert history is None
    assert "fedyard_history_changes_total 0.0" in metrics
    before = read_history(net.database).history_id
    change = c.ChangeHistory(
        before=before, history_id=derive(before, "next"), fingerprint="{}", reason="it was restored"
    )
    net.publisher.send([envelope_of(change, id=derive(before, "change"), by=THE_HUB, at=SystemClock().now())])
    history, metrics = told()
    assert history is not None
    assert "sites that have recovered: 0 of 2" in history
    assert "fedyard_sites_to_recover 2.0" in metrics
    assert bergen.ok("GET", "/v1/inbox")["history_id"] == derive(before, "next")
    bergen.ok("POST", f"/v1/sites/{bergen.id}/recovery", {"last_seq": 0})
    assert "sites that have recovered: 1 of 2" in (told()[0] or "")


def test_a_site_shows_what_waits_for_it_and_whether_its_history_is_the_hubs(net: Network, bergen: Caller) -> None:
    """mismatch_since: from the restore on until the site has recovered."""
    path = f"/v1/sites/{bergen.id}"
    items = bergen.ok("GET", "/v1/inbox?after=0")["items"]
    fresh = net.admin.ok("GET", path)["health"]
    assert (fresh["last_seq"], fresh["acknowledged_seq"]) == (items[-1]["seq"], 0)
    assert (fresh["waiting_since"], fresh["key_epoch"]) == (items[0]["created_at"], None)
    assert (fresh["mismatch_since"], fresh["recovered_at"]) == (None, None)

    bergen.ok("PUT", "/v1/inbox/acknowledged", {"through": items[-1]["seq"], "mark": items[-1]["mark"]})
    before = read_history(net.database)
    restored = c.ChangeHistory(
        before=before.history_id, history_id=derive("restored"), known=False, fingerprint="", reason="restored"
    )
    net.publisher.send([envelope_of(restored, id=derive("the restore"), by=THE_HUB, at=SystemClock().now())])
    since = net.admin.ok("GET", path)["health"]
    assert (since["waiting_since"], since["mismatch_since"] is not None) == (None, True)

    bergen.ok("POST", f"{path}/recovery", {"last_seq": items[-1]["seq"], "history_id": before.history_id})
    again = net.admin.ok("GET", path)["health"]
    assert (again["mismatch_since"], again["recovered_at"] is not None) == (None, True)
