"""Bad input: every refusal is a problem that says the fact and the remedy, and never HTML."""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from werkzeug.test import TestResponse

from domain.ids import sha256_hex
from fedyard.wire.parameters import check_shown, check_written
from tests.seals import enrolling
from tests.waiting import until
from tests.web.network import TASKS, Network

JSON = "application/json"
NOBODY = "00000000-0000-4000-8000-000000000000"


def slug(response: TestResponse, status: int) -> str:
    """The problem's slug; it must be a whole problem of this status."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.content_type == "application/problem+json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    problem = response.get_json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return str(problem["type"]).removeprefix("/problems/")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "body: "),
        (b"{", "body: "),
        (b"[]", "Expected `object`"),
        (b'{"name": 3}', "$.name"),
        (b'{"name": ""}', "$.name"),
        (b'{"name": "a\\u0000b"}', "$.name"),
        (b'{"name": "a\\n"}', "$.name"),
        (b'{"name": "a", "colour": "red"}', "colour"),
        (b'{"name": "' + b"a" * 101 + b'"}', "$.name"),
        (b'{"name": "\xff"}', "body: "),
        (b"[" * 100_000, "body: "),
    ],
)
def test_a_malformed_body_is_400_with_the_place(shared: Network, body: bytes, said: str) -> None:
    response = shared.admin.call("POST", "/v1/organisations", data=body, content_type="application/json")
    assert slug(response, 400) == "malformed"
    assert said in response.get_json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"client_image": "a b"},
        {"client_image": "a\n"},
        {"name": "a "},
        {"tasks": [{"name": "t\n", "model": "m"}]},
    ],
)
def test_what_no_decider_could_read_is_refused_at_the_edge(shared: Network, change: dict[str, Any]) -> None:
    """What came through here as 202 would be a dead letter, and its caller would wait for ever."""
    response = shared.admin.call("POST", "/v1/projects", {"name": "p", "tasks": TASKS, **change})
    assert slug(response, 400) == "malformed"


@pytest.mark.parametrize("levels", [40, 950, 975, 985, 5_000])
def test_a_body_is_not_nested_deeper_than_the_hub_can_write_it_again(shared: Network, levels: int) -> None:
    task = b'{"name": "t", "model": "m", "parameters": {"x": ' + b"[" * levels + b"]" * levels + b"}}"
    body = b'{"name": "p", "tasks": [' + task + b"]}"
    response = shared.admin.call("POST", "/v1/projects", data=body, content_type="application/json")
    assert slug(response, 400) == "malformed"
    assert "nested" in response.get_json()["detail"]


CANNOT_TRAVEL = {
    "2**70": ('{"x": 1180591620717411303424}', "parameters.x: a whole number beyond 64 bits"),
    "-2**63-1": ('{"a": [1, {"b c": -9223372036854775809}]}', "parameters.a[1].b c: a whole number beyond 64 bits"),
    "key": ('{"a": {"%s": 1}}' % ("k" * 201), "parameters.a: a name in it is longer than 200 characters"),
    "text": ('{"a": "%s"}' % ("t" * 65_537), "parameters.a: a text longer than 65536 characters"),
    "many": (f'{{"a": [{",".join("0" * 100_000)}]}}', "parameters hold more than 100000 values"),
    "1e400": ('{"a": 1e400}', "out of range"),
    "surrogate": ('{"a": "\\ud800"}', ""),
}


@pytest.mark.parametrize("which", CANNOT_TRAVEL)
def test_parameters_that_cannot_travel_to_a_site_are_refused_with_their_place(shared: Network, which: str) -> None:
    """Agents hand parameters to tasks as MessagePack, which holds numbers of 64 bits and Unicode alone."""
    parameters, sentence = CANNOT_TRAVEL[which]
    tasks = f'[{{"name": "s", "model": "m"}}, {{"name": "t", "model": "m", "parameters": {parameters}}}]'
    made = shared.admin.call("POST", "/v1/projects", data=f'{{"name": "p", "tasks": {tasks}}}', content_type=JSON)
    changed = shared.admin.call(
        "PATCH", f"/v1/projects/{uuid.UUID(int=1)}", data=f'{{"tasks": {tasks}}}', content_type=JSON
    )
    for response in (made, changed):
        problem = (400, "malformed") if which in ("1e400", "surrogate") else (422, "unfit")
        assert (response.status_code, slug(response, problem[0])) == problem
        assert sentence in response.get_json()["detail"]
        assert "11805916207" not in response.get_json()["detail"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"x": [2**64 - 1, -(2**63), 0.5, None, True, "\u0000 \U0001f600", {}]},
        {"k" * 200: "t" * 65_536},
        {"a": [0] * 99_999},
    ],
)
def test_all_other_parameters_can(parameters: dict[str, object]) -> None:
    check_written(parameters)
    check_shown(parameters)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(parameters)) == parameters


def test_a_wrong_value_is_not_repeated(shared: Network) -> None:
    organisation = shared.organisation("oslo")
    body = {"organisation_id": organisation, "name": "x", "role": "s3cret"}
    response = shared.admin.call("POST", "/v1/accounts", body)
    assert slug(response, 400) == "malformed"
    assert "s3cret" not in response.get_data(as_text=True)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_that_is_not_json_is_415(shared: Network, kind: str | None) -> None:
    response = shared.admin.call("POST", "/v1/organisations", data=b'{"name": "a"}', content_type=kind)
    assert slug(response, 415) == "not_json"


def test_a_body_over_the_limit_is_413(make_net: Callable[..., Network]) -> None:
    net = make_net(request_limit_bytes=2000)
    body = json.dumps({"name": "a" * 2000}).encode()
    told = net.admin.call("POST", "/v1/organisations", data=body, content_type="application/json")
    assert slug(told, 413) == "too_large"
    untold = net.admin.call(
        "POST",
        "/v1/organisations",
        input_stream=io.BytesIO(body),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert slug(untold, 413) == "too_large"


def test_an_inline_body_over_its_limit_is_413(make_net: Callable[..., Network]) -> None:
    net = make_net(inline_limit_bytes=1024)
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    run = net.run(oslo, project)
    large = base64.b64encode(b"x" * 1025).decode()
    fits = base64.b64encode(b"x" * 1024).decode()
    message = {"project_id": project, "to": "coordinator", "body": large}
    assert slug(bergen.call("POST", "/v1/messages", {"messages": [message]}), 413) == "too_large"
    assert slug(net.report(bergen, run, "submit", 1, update=large), 413) == "too_large"
    model = oslo.call("POST", f"/v1/runs/{run}/tasks/1/rounds/1/aggregated", {"model": large})
    assert slug(model, 413) == "too_large"
    assert bergen.call("POST", "/v1/messages", {"messages": [{**message, "body": fits}]}).status_code == 201


def test_base64_that_is_none_is_400(net: Network) -> None:
    site = net.site("oslo")
    message = {"project_id": NOBODY, "to": "coordinator", "body": "%%%"}
    response = site.call("POST", "/v1/messages", {"messages": [message]})
    assert slug(response, 400) == "malformed"
    assert "$.messages[0].body" in response.get_json()["detail"]


@pytest.mark.parametrize(
    "query", ["colour=red", "limit=0", "limit=201", "limit=x", "limit=", "after=x", "limit=1&limit=2", "after=1-2"]
)
def test_a_query_that_is_not_understood_is_400(shared: Network, query: str) -> None:
    assert slug(shared.admin.get(f"/v1/organisations?{query}"), 400) == "malformed"


@pytest.mark.parametrize("wait", ["31", "-1", "nan", "x"])
def test_a_wait_out_of_bounds_is_400(shared: Network, wait: str) -> None:
    site = shared.site(f"site that waits {wait}")
    assert slug(site.get(f"/v1/inbox?wait={wait}"), 400) == "malformed"


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/nothing",
        "/v1/runs/7",
        f"/v1/runs/{NOBODY.upper().replace('0', 'A')}",
        f"/v1/runs/{NOBODY}",
        f"/v1/organisations/{NOBODY}",
        f"/v1/accounts/{NOBODY}",
        f"/v1/sites/{NOBODY}",
        f"/v1/sites/{NOBODY}/events",
        f"/v1/projects/{NOBODY}",
        f"/v1/projects/{NOBODY}/members",
        f"/v1/projects/{NOBODY}/events",
        f"/v1/projects/{NOBODY}/runs",
        f"/v1/runs/{NOBODY}/events",
        f"/v1/messages/{NOBODY}",
        "/v1/organisations/",
    ],
)
def test_what_is_not_there_is_404(shared: Network, path: str) -> None:
    member = shared.account(shared.organisation("oslo"), "member")
    assert slug(member.get(path), 404) == "not_found"


@pytest.mark.parametrize(
    "path",
    [
        "//v1/me",
        "/v1//me",
        "/v1/me/",
        "/v1/./me",
        "/v1/x/../me",
        "/v1/me;a=b",
        "/v1%2fme",
        "/v1%2Fme",
        "/%76%31/me",
        "/v1/%6de",
        "/v1/me%00",
        "/v1/me%0a",
        "/v1%5cme",
        "\\v1\\me",
        f"/v1/runs/{NOBODY}%0A",
        f"/v1/runs/{NOBODY}%2Fevents",
    ],
)
def test_a_path_is_written_in_one_way(shared: Network, path: str) -> None:
    """Or a proxy's rules would be about another path than the one that is served."""
    environ = {"REQUEST_URI": path, "RAW_URI": path}
    response = shared.admin.get(path, environ_overrides=environ)
    assert response.status_code in (400, 404)
    assert response.content_type == "application/problem+json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_another_hosts_address_is_no_path(shared: Network) -> None:
    environ = {"REQUEST_URI": "http://evil.example/v1/me"}
    assert slug(shared.admin.get("/v1/me", environ_overrides=environ), 400) == "malformed"


def test_nothing_overrides_the_method(shared: Network) -> None:
    account = shared.account(shared.organisation("oslo"), "member")
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        shared.admin.get(f"/v1/accounts/{account.id}", headers={header: "DELETE"})
    assert shared.admin.ok("GET", f"/v1/accounts/{account.id}")["disabled_at"] is None
    for method in ("TRACE", "CONNECT", "PROPFIND", "GETS"):
        assert shared.admin.call(method, "/v1/me").status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", f"/v1/accounts/{NOBODY}", None),
        ("DELETE", f"/v1/tokens/{NOBODY}", None),
        ("PATCH", f"/v1/sites/{NOBODY}", {"description": "x"}),
        ("DELETE", f"/v1/sites/{NOBODY}", None),
        ("PATCH", f"/v1/projects/{NOBODY}", {}),
        ("DELETE", f"/v1/projects/{NOBODY}", None),
        ("PUT", f"/v1/projects/{NOBODY}/members/{NOBODY}", {}),
        ("DELETE", f"/v1/projects/{NOBODY}/members/{NOBODY}", None),
        ("POST", f"/v1/projects/{NOBODY}/runs", {}),
        ("POST", f"/v1/runs/{NOBODY}/stop", {}),
        ("POST", f"/v1/runs/{NOBODY}/restart", {}),
        ("PUT", f"/v1/runs/{NOBODY}/tasks/1/seats/{NOBODY}", {"event": "ready", "seq": 1, "round": 1}),
        ("POST", f"/v1/runs/{NOBODY}/tasks/1/rounds/1/aggregated", {}),
        ("POST", "/v1/enrolments", {"organisation_id": NOBODY}),
        ("POST", "/v1/accounts", {"organisation_id": NOBODY, "name": "x", "role": "member"}),
    ],
)
def test_a_write_to_what_is_not_there_is_404(shared: Network, method: str, path: str, body: Any) -> None:
    assert slug(shared.admin.call(method, path, body), 404) == "not_found"


def test_a_method_that_is_not_offered_is_405(shared: Network) -> None:
    response = shared.admin.call("PUT", "/v1/organisations", {})
    assert slug(response, 405) == "method_not_allowed"
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert slug(shared.admin.call("OPTIONS", "/v1/me"), 405) == "method_not_allowed"
    assert slug(shared.admin.call("TRACE", "/v1/me"), 405) == "method_not_allowed"


class TestTokens:
    @pytest.mark.parametrize(
        "header", [None, "", "Bearer", "Bearer ", "Basic x", "Bearer unknown", f"Bearer {'x' * 5000}", "Bearer x y"]
    )
    def test_none_that_is_valid_is_401(self, shared: Network, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header}
        response = shared.app.test_client().get("/v1/me", headers=headers)
        assert slug(response, 401) in ("no_token", "token_not_valid")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    def test_expired(self, net: Network) -> None:
        organisation = net.organisation("oslo")
        body = {"organisation_id": organisation, "name": "x", "role": "member"}
        made = net.admin.call("POST", "/v1/accounts", {**body, "token_expires_at": "2026-01-01T00:00:00Z"})
        assert slug(made, 422) == "already_expired"
        with net.database.connection():
            token = net.account(organisation, "member")
            net.database.execute("UPDATE tokens SET expires_at = 1 WHERE owner_id = %s", (token.id,))
        assert slug(token.get("/v1/me"), 401) == "token_not_valid"

    def test_a_revoked_one_stops_at_once_even_if_it_was_just_used(self, net: Network) -> None:
        site = net.site("oslo")
        further = site.ok("POST", "/v1/tokens", {"label": "second"})
        second = net.stranger(further["token"])
        assert second.get("/v1/me").status_code == 200
        site.ok("DELETE", f"/v1/tokens/{further['id']}")
        assert slug(second.get("/v1/me"), 401) == "token_not_valid"
        assert site.get("/v1/me").status_code == 200

    def test_a_disabled_accounts_stops(self, net: Network) -> None:
        member = net.account(net.organisation("oslo"), "member")
        assert member.get("/v1/me").status_code == 200
        net.admin.ok("DELETE", f"/v1/accounts/{member.id}")
        assert slug(member.get("/v1/me"), 401) == "token_not_valid"

    def test_a_retired_sites_stops(self, net: Network) -> None:
        site = net.site("oslo")
        assert site.get("/v1/me").status_code == 200
        site.ok("DELETE", f"/v1/sites/{site.id}")
        assert slug(site.get("/v1/me"), 401) == "token_not_valid"

    def test_scopes_narrow(self, net: Network) -> None:
        site = net.site("oslo")
        reader = net.stranger(site.ok("POST", "/v1/tokens", {"label": "r", "scopes": ["read"]})["token"])
        writer = net.stranger(site.ok("POST", "/v1/tokens", {"label": "w", "scopes": ["write"]})["token"])
        assert reader.get("/v1/inbox").status_code == 200
        assert slug(reader.call("PUT", "/v1/inbox/acknowledged", {"through": 0}), 403) == "scope_missing"
        assert slug(writer.get("/v1/inbox"), 403) == "scope_missing"
        assert writer.call("PUT", "/v1/inbox/acknowledged", {"through": 0}).status_code == 200

    def test_a_token_hands_on_no_more_than_it_has(self, net: Network) -> None:
        site = net.site("oslo")
        writer = net.stranger(site.ok("POST", "/v1/tokens", {"label": "w", "scopes": ["write"]})["token"])
        assert slug(writer.call("POST", "/v1/tokens", {"label": "all"}), 403) == "scope_missing"
        assert writer.call("POST", "/v1/tokens", {"label": "w", "scopes": ["write"]}).status_code == 201

    def test_an_enrolments_is_good_for_one_thing(self, net: Network) -> None:
        enrolment = net.enrolment(net.organisation("oslo"))
        assert slug(enrolment.get("/v1/me"), 403) == "forbidden"
        assert slug(enrolment.get("/v1/sites"), 403) == "forbidden"
        body = enrolling(enrolment.token, "oslo")
        made = enrolment.call("POST", "/v1/sites", body)
        assert made.status_code == 201
        unknown = net.stranger("fyd_nothing").get("/v1/me")
        for used in (
            enrolment.call("POST", "/v1/sites", {**body, "name": "two"}),
            enrolment.call("POST", "/v1/sites", body),
            enrolment.get(f"/v1/commands/{made.headers['Fedyard-Command']}"),
        ):
            assert slug(used, 401) == "token_not_valid"
            assert used.get_json() == unknown.get_json()

    def test_an_enrolments_that_has_expired_is_like_an_unknown_one(self, net: Network) -> None:
        organisation = net.organisation("oslo")
        made = net.admin.ok("POST", "/v1/enrolments", {"organisation_id": organisation, "expires_in_s": 1})
        enrolment = net.stranger(made["token"])
        until(lambda: enrolment.get("/v1/me").status_code == 401)
        assert enrolment.get("/v1/me").get_json() == net.stranger("fyd_nothing").get("/v1/me").get_json()

    def test_kinds_of_subjects(self, net: Network) -> None:
        site, member = net.site("oslo"), net.account(net.organisation("bergen"), "member")
        assert slug(site.call("POST", "/v1/organisations", {"name": "x"}), 403) == "forbidden"
        assert slug(member.get("/v1/inbox"), 403) == "forbidden"
        assert slug(member.call("POST", "/v1/organisations", {"name": "x"}), 403) == "forbidden"
        assert slug(member.get("/v1/enrolments"), 403) == "forbidden"

    def test_only_hashes_are_stored(self, net: Network) -> None:
        site = net.site("oslo")
        assert site.token is not None
        with net.database.connection():
            for (name,) in net.database.all("SELECT sha256 FROM tokens WHERE owner_id = %s", site.id):
                assert name == sha256_hex(site.token.encode())
        assert site.token not in repr([repr(one) for one in net.publisher.sent])


def test_somebody_elses_ids(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, joining="invitation")
    assert slug(bergen.get(f"/v1/projects/{project}"), 404) == "not_found"
    assert slug(bergen.call("POST", f"/v1/projects/{project}/runs", {}), 404) == "not_found"
    assert slug(bergen.call("PUT", f"/v1/sites/{oslo.id}/heartbeat"), 403) == "forbidden"
    assert slug(bergen.call("DELETE", f"/v1/sites/{oslo.id}"), 404) == "not_found"
    run = net.run(oslo, project)
    assert slug(bergen.get(f"/v1/runs/{run}"), 404) == "not_found"
    assert slug(bergen.get(f"/v1/runs/{run}/events"), 404) == "not_found"
    assert slug(bergen.call("POST", f"/v1/runs/{run}/stop", {}), 404) == "not_found"
    body = {"event": "ready", "seq": 1, "round": 1}
    for site in (oslo.id, bergen.id):
        response = bergen.call("PUT", f"/v1/runs/{run}/tasks/1/seats/{site}", body)
        assert response.status_code in (403, 404)
    command = oslo.call("POST", "/v1/tokens", {"label": "x"}).headers["Fedyard-Command"]
    assert bergen.ok("GET", f"/v1/commands/{command}") == {
        **bergen.ok("GET", f"/v1/commands/{NOBODY}"),
        "id": command,
    }


def test_a_project_needs_a_coordinator(shared: Network) -> None:
    response = shared.admin.call("POST", "/v1/projects", {"name": "x", "tasks": TASKS})
    assert slug(response, 422) == "impossible"


def test_owner_kind_and_id_belong_together(shared: Network) -> None:
    response = shared.admin.call("POST", "/v1/tokens", {"label": "x", "owner_kind": "site"})
    assert slug(response, 422) == "impossible"


def test_a_bug_is_a_problem_too_and_shows_nothing(net: Network) -> None:
    def broken() -> None:
        raise RuntimeError("a secret")

    net.app.config["PROPAGATE_EXCEPTIONS"] = False
    net.app._got_first_request = False
    net.app.add_url_rule("/broken", view_func=broken)
    response = net.app.test_client().get("/broken")
    assert slug(response, 500) == "internal"
    assert "secret" not in response.get_data(as_text=True)


@pytest.mark.parametrize(
    "name", ["Os\u200blo", "Oslo\u202e", "O\u0455lo", "\uff2fslo", "A\u030a", "x\u2028y", "\ue000", "\u0391BC"]
)
def test_a_name_looks_like_what_it_is(shared: Network, name: str) -> None:
    assert slug(shared.admin.call("POST", "/v1/organisations", {"name": name}), 422) == "unfit"


@pytest.mark.parametrize("name", ["Tromsø", "京都 hospital", "Ελλάδα", "Москва 1", "Ward [/b]"])
def test_a_name_of_any_language_is_taken(shared: Network, name: str) -> None:
    assert shared.admin.call("POST", "/v1/organisations", {"name": name}).status_code == 201


@pytest.mark.parametrize("note", ["\x1b[2J", "a\rb", "\u202eabc", "x\u2028y"])
def test_a_text_holds_nothing_that_acts(shared: Network, note: str) -> None:
    body = {"organisation_id": NOBODY, "note": note}
    assert slug(shared.admin.call("POST", "/v1/enrolments", body), 422) == "unfit"


@pytest.mark.parametrize("said", ["0.5", "1700000000", "-1", "+1.5e9", "1E3"])
def test_a_number_is_no_time(shared: Network, said: str) -> None:
    """msgspec takes one in a query for seconds since 1970, which nobody was told."""
    response = shared.admin.get("/v1/events", query_string={"until": said})
    assert slug(response, 400) == "malformed"
    assert "write until as a time" in response.get_json()["detail"]
    assert shared.admin.get("/v1/events", query_string={"until": "2026-11-29T00:00:00Z"}).status_code == 200
