"""A site's portal against a real hub: who may come in, and a story from a project to its model."""

from __future__ import annotations

import gzip
import io
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from fedyard.actions.projects import remember
from fedyard.agent.site import Folder
from fedyard.agent.state import Approval, State
from fedyard.clock import micros_now
from fedyard.look.forms import Form
from fedyard.portal.desk import Desk, Visit
from fedyard.portal.door import IDLE_S, Session
from fedyard.portal.serving import HEADERS, Busy, Server
from fedyard.portal.table import FORMS, PAGES
from fedyard.sealed.keys import fingerprint, words
from fedyard.wire.times import SECOND
from tests.fedyard.portal.browsing import BASE, Browser, said
from tests.fedyard.world import TASKS, SiteProcess, World, project_of
from tests.waiting import until

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def sites(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SiteProcess, SiteProcess]]:
    north, east = world.sites(tmp_path_factory.mktemp("portal"), "north", "east")
    for site in (north, east):
        site.start()
    yield north, east
    for site in (north, east):
        site.kill()


@pytest.fixture
def north(sites) -> Iterator[Browser]:
    with browsing(sites[0].folder) as browser:
        yield browser


@contextmanager
def browsing(folder: Folder, **more: float) -> Iterator[Browser]:
    browser = Browser(folder, **more)
    try:
        yield browser.enter()
        assert browser.faults == []
    finally:
        browser.close()


# who may come in


@pytest.mark.parametrize("path", ["/", "/left", "/keys", "/nowhere", "/live", "/models/files/x.npz"])
def test_nobody_is_in_without_a_link(sites, path: str) -> None:
    browser = Browser(sites[0].folder)
    answer = browser.get(path)
    assert answer.status_code == 401
    assert sites[0].site_id not in answer.text
    assert "site portal" in answer.text


def test_a_link_that_was_used_says_so(sites) -> None:
    browser = Browser(sites[0].folder)
    link = browser.portal.opened.link(browser.portal.now_s()).removeprefix(BASE)
    assert browser.http.head(link, base_url=BASE).status_code == 200  # looked at, not used
    assert browser.get(link).status_code == 303
    again = browser.get(link)
    assert (again.status_code, "used before" in again.text) == (401, True)


@pytest.mark.parametrize(
    "host", ["evil.example:8437", "127.0.0.1:80", "127.0.0.1", "evil.example", "127.0.0.1.evil.example:8437"]
)
def test_another_name_for_this_machine_reaches_nothing(north: Browser, host: str) -> None:
    for path in ("/", "/static/page.css", "/enter?code=x"):
        assert north.get(path, Host=host).status_code == 421


def test_localhost_is_this_machine(north: Browser) -> None:
    assert north.http.get("/", base_url="http://localhost:8437").status_code == 401  # a cookie is a name's own


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
    ],
)
def test_a_form_of_another_page_does_nothing(north: Browser, sites, headers: dict[str, str]) -> None:
    before = len(sites[0].folder.keyring().epochs())
    assert north.post("/keys/rotate", {}, **headers).status_code == 403
    assert len(sites[0].folder.keyring().epochs()) == before


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
        ("same-site", "navigate", 200),
        ("same-site", "cors", 403),
    ],
)
def test_another_page_may_lead_here_and_loads_nothing(north: Browser, site: str, mode: str, status: int) -> None:
    assert north.get("/left", **{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}).status_code == status


@pytest.mark.parametrize("one", FORMS, ids=lambda one: one.path)
def test_no_form_is_taken_without_its_sessions_token(north: Browser, one) -> None:
    path = re.sub(r"<[^>]*>", "aaaaaaaa-0000-4000-8000-000000000000", one.path)
    for token in ("", "made-up"):
        assert north.post(path, {"_csrf": token}).status_code == 403


def test_every_answer_carries_what_keeps_others_out(north: Browser) -> None:
    for path, status in (("/", 200), ("/nowhere", 404), ("/static/nothing.css", 404), ("/projects/x", 404)):
        answer = north.get(path)
        assert answer.status_code == status
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert answer.headers["Cache-Control"] == "no-store"
    cookie = north.http.get(north.portal.opened.link(north.portal.now_s()).removeprefix(BASE), base_url=BASE)
    assert "HttpOnly" in cookie.headers["Set-Cookie"]
    assert "SameSite=Strict" in cookie.headers["Set-Cookie"]


def test_what_a_page_loads_is_there_and_stays(north: Browser) -> None:
    names = re.findall(r'(?:src|href)="(/static/[^"]+)"', north.text("/models"))
    assert len(names) > 5
    for name in set(names):
        answer = north.get(name)
        assert (answer.status_code, "immutable" in answer.headers["Cache-Control"]) == (200, True)
        zipped = north.get(name, **{"Accept-Encoding": "gzip"})
        assert gzip.decompress(zipped.data) == answer.data


def test_nothing_in_a_page_is_inline(north: Browser) -> None:
    for one in PAGES:
        if "<" not in one.path and not one.waits:
            text = north.text(one.path)
            assert re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text) is None, one.path


def test_a_form_that_is_sent_twice_at_once_acts_once(north: Browser, sites) -> None:
    ring = sites[0].folder.keyring()
    until(lambda: bool(ring.epochs()))  # the agent's own first one
    before = len(ring.epochs())
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: one.post("/keys/rotate", {"_key": "twice"}), (north, north.beside())))
    assert [one.status_code for one in answers] == [303, 303]
    assert len(ring.epochs()) == before + 1


def test_a_form_that_was_changed_is_another_one_and_so_is_one_of_another_page(tmp_path) -> None:
    folder = Folder(tmp_path)
    session, desk = Session("secret", 0, 0), Desk(folder)

    def key(way: str = "/messages", file: bytes | None = None, **form: str) -> str:
        return Visit(desk, session, way, form=Form.of(_key="k", **form), file=file).key

    first = key(text="no")
    assert first == key(text="no", _csrf="another session's")
    others = {key(text="now"), key(text="no", to="east"), key("/keys/rotate", text="no"), key(text="no", file=b"x")}
    assert len(others - {first}) == 4


def test_an_open_page_that_renews_itself_is_idle_all_the_same(sites) -> None:
    at = micros_now()
    browser = Browser(sites[0].folder, now=lambda: at).enter()
    at += (IDLE_S - 1) * SECOND
    assert browser.get("/live?seen=another", **{"HX-Request": "true"}).status_code == 200
    at += 2 * SECOND
    assert browser.get("/live?seen=another", **{"HX-Request": "true"}).status_code == 401
    assert browser.get("/").status_code == 401


def test_one_signs_out_and_is_out(sites) -> None:
    with browsing(sites[0].folder) as browser:
        assert browser.post("/leave", {}).status_code == 200
        assert browser.get("/").status_code == 401


def test_a_portal_listens_on_this_machine_alone_and_once_for_a_folder(sites) -> None:
    server = Server(sites[1].folder, port=None)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert {one.getsockname()[0] for one in [server._server.socket]} == {"127.0.0.1"}
        with pytest.raises(Busy) as busy:
            Server(sites[1].folder)
        assert busy.value.opened == server.portal.opened
    finally:
        server.stop()
        thread.join(10)
    assert not thread.is_alive()


# a story


def test_from_a_project_to_its_model(sites) -> None:
    north_site, east_site = sites
    with browsing(north_site.folder) as north, browsing(east_site.folder) as east:
        project_id = made(north, north_site)
        joined(east, east_site, north_site, project_id)
        let_in(north, east_site, project_id)
        run_id = watched(north, north_site, project_id)
        of_the_run(north, north_site, run_id)
        downloaded(north, project_id)
        compared(north, east_site)
        written(north, east, project_id)
        renewed(north, north_site)
        left(east, east_site, project_id)


def made(north: Browser, site: SiteProcess) -> str:
    tasks = f'[{{"name": "train", "model": "{TASKS}:Gated", "rounds": 2}}]'
    wrong = north.post("/projects/new", {"name": "Tumours", "tasks": "[{}", "_key": "k0"})
    assert wrong.status_code == 422
    assert 'id="f-tasks-error"' in wrong.text
    assert 'value="Tumours"' in wrong.text
    unknown = north.post("/projects/new", {"name": "Tumours", "tasks": '[{"name": 5}]'})
    assert (unknown.status_code, 'id="f-tasks-error"' in unknown.text) == (422, True)
    form = {"name": f"Tumours {EVIL}", "tasks": tasks, "description": EVIL, "joining": "approval", "sealed": "required"}
    place = north.done("/projects/new", _key="k1", **form)
    assert north.done("/projects/new", _key="k1", **form) == place  # the same form, sent twice
    text = north.text(place)
    assert EVIL not in text
    assert f"Tumours {EVIL}" in said(text)
    assert "This site serves it; this site coordinates, 1 member takes part." in said(text)
    return place.rpartition("/")[2]


def joined(east: Browser, site: SiteProcess, other: SiteProcess, project_id: str) -> None:
    place = f"/projects/{project_id}"
    assert words(fingerprint(other.folder.keyring().identity_key)) in said(east.text(place))
    nothing = east.post(f"{place}/join", {"notes": EVIL})
    assert (nothing.status_code, 'id="f-coordinator-error"' in nothing.text) == (422, True)
    mistyped = east.post(f"{place}/join", {"coordinator": "lunch market first"})
    assert (mistyped.status_code, 'id="f-coordinator-error"' in mistyped.text) == (422, True)
    own = words(fingerprint(site.folder.keyring().identity_key))
    assert east.post(f"{place}/join", {"coordinator": own}).status_code == 409
    assert project_id not in site.folder.consents().all()
    right = words(fingerprint(other.folder.keyring().identity_key))
    east.done(f"{place}/join", coordinator=right, notes=f"300 patients {EVIL}")
    assert "and waits to be let in" in said(east.text(place))


def let_in(north: Browser, other: SiteProcess, project_id: str) -> None:
    now = north.text("/")
    assert f"{other.name} asks to join Tumours {EVIL}: 300 patients {EVIL}" in said(now)
    assert EVIL not in now
    assert north.done(f"/projects/{project_id}/let-in", site=other.site_id, name=other.name).startswith(
        f"/projects/{project_id}"
    )
    assert f"{other.name}: active." in said(north.text(f"/projects/{project_id}"))
    assert "asks to join" not in said(north.text("/"))


def watched(north: Browser, site: SiteProcess, project_id: str) -> str:
    site.hold("train")
    place = north.done(f"/projects/{project_id}/start", _key="k2")
    assert north.done(f"/projects/{project_id}/start", _key="k2") == place
    run_id = place.rpartition("/")[2]
    work = until(lambda: "trains on its data" in (text := said(north.text("/"))) and text)
    assert "train" in work
    page = north.text(place)
    live = re.search(r'data-live="([^"]+)"', page)
    assert live is not None
    until(lambda: f"waits for {site.name}" in said(north.text(place)))
    seen = re.search(r'data-live="(/runs/[^"]+)"', north.text(place))
    assert seen is not None
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(north.text(seen[1])))
    waiting.start()
    site.release("train")
    waiting.join(30)
    assert 'id="run"' in answers[0]
    until(lambda: "It succeeded after" in said(north.text(place)))
    assert "data-live" not in north.text(place)
    return run_id


def of_the_run(north: Browser, site: SiteProcess, run_id: str) -> None:
    assert f"run {run_id}"[:8] in said(north.text("/runs")) or run_id in north.text("/runs")
    gone = said(north.text(f"/left?run={run_id}"))
    assert gone.count("accepted") >= 4  # two updates, two models
    assert "update" in said(north.text("/left?kind=update"))
    assert "Nothing of that kind has left" in said(north.text("/left?kind=reason&run=none"))
    assert north.text(f"/runs/{run_id}/logs")
    refused = north.post(f"/runs/{run_id}/stop", {"reason": EVIL})
    assert refused.status_code in (303, 409)
    assert EVIL not in refused.text


def downloaded(north: Browser, project_id: str) -> None:
    answer = north.get(f"/models/{project_id}/2")
    assert (answer.status_code, answer.mimetype) == (200, "application/octet-stream")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert "script" not in answer.headers["Content-Disposition"].replace("-script-", "")
    assert np.load(io.BytesIO(answer.data))["total"].tolist() == [2.0]
    assert north.get(f"/models/{project_id}/9").status_code == 409
    file = re.search(r'href="(/models/files/[^"]+)"', north.text("/models"))
    assert file is not None
    assert np.load(io.BytesIO(north.get(file[1]).data))["total"].tolist() == [2.0]
    for evil in ("/models/files/..%2Fidentity.key", "/models/files/identity.key", "/models/files/%2e%2e"):
        assert north.get(evil).status_code in (404, 409)


def compared(north: Browser, other: SiteProcess) -> None:
    assert "Nobody has compared" in said(north.text("/trust"))
    wrong = north.post("/trust", {"site": other.site_id, "fingerprint": "00" * 16})
    assert wrong.status_code == 422
    assert "you were told" in said(wrong.text)
    right = words(fingerprint(other.folder.keyring().identity_key))
    north.done("/trust", site=other.site_id, fingerprint=right)
    assert "was compared by a person" in said(north.text("/trust"))


def written(north: Browser, east: Browser, project_id: str) -> None:
    nobody = north.post("/messages", {"project": project_id, "to": "nobody", "text": "x"})
    assert (nobody.status_code, 'id="f-to-error"' in nobody.text) == (422, True)
    north.done("/messages", project=project_id, to="participants", text=f"Dear east {EVIL}")
    north.done("/messages", project=project_id, to="participants", file=(io.BytesIO(b"\0binary"), "b.bin"))
    found = until(lambda: (m := re.findall(r'href="(/messages/\d+)"', east.text("/messages"))) and len(m) == 2 and m)
    pages = [east.text(place) for place in sorted(found, key=lambda one: int(one.rpartition("/")[2]))]
    assert f"Dear east {EVIL}" in said(pages[0])
    assert EVIL not in pages[0]
    assert "It is no text." in pages[1]
    kept = east.get(f"{sorted(found, key=lambda one: int(one.rpartition('/')[2]))[1]}/content")
    assert (kept.data, kept.mimetype) == (b"\0binary", "application/octet-stream")
    assert "2 messages" in said(north.text("/left"))


def renewed(north: Browser, site: SiteProcess) -> None:
    before = site.folder.keyring().current().epoch
    north.done("/keys/rotate")
    assert f"The sealing key of epoch {before + 1} is published." in said(north.text("/keys"))
    north.done("/keys/revoke", epoch=str(before))
    states = {one.key.epoch: one.state for one in site.folder.keyring().epochs()}
    assert states[before] == "revoked", states
    assert north.post("/keys/revoke", {"epoch": "x"}).status_code == 422


def left(east: Browser, site: SiteProcess, project_id: str) -> None:
    assert east.done(f"/projects/{project_id}/leave") == "/projects"
    assert "This site does not serve the project any more." in said(east.text("/projects"))
    assert not site.folder.consents().serves(project_id)


def test_every_page_answers_and_a_part_that_waits_ends_with_the_portal(north: Browser) -> None:
    for one in PAGES:
        if "<" not in one.path and not one.waits:
            assert north.text(one.path)
    seen = re.search(r'data-live="([^"]+)"', north.text("/"))
    assert seen is not None
    north.portal.desk.closing.set()
    assert north.get(seen[1]).status_code == 204
    assert north.get("/live?seen=another").status_code == 200


def test_without_the_hub_a_page_shows_what_is_in_the_house(sites, tmp_path) -> None:
    folder = Folder(tmp_path / "copy")
    folder.path.mkdir()
    for name in ("site.toml", "token", "identity.key", "site.id", "pins.json", "consents.json"):
        (folder.path / name).write_bytes((sites[0].path / name).read_bytes())
    text = (folder.path / "site.toml").read_text()
    (folder.path / "site.toml").write_text(re.sub(r'hub = "[^"]*"', 'hub = "http://127.0.0.1:9"', text, count=1))
    with browsing(folder, give_up_s=0.05) as alone:
        for path in (
            "/",
            "/left",
            "/policy",
            "/agent",
            "/projects",
            "/runs",
            "/models",
            "/messages",
            "/trust",
            "/keys",
        ):
            assert alone.text(path), path
        assert "The hub cannot be reached" in said(alone.text("/projects"))
        assert "No agent has worked in this folder yet" in said(alone.text("/"))
        nowhere = alone.get("/projects/aaaaaaaa-0000-4000-8000-000000000000")
        assert (nowhere.status_code, "cannot be reached" in nowhere.text) == (503, True)
        rotated = alone.post("/keys/rotate", {})
        assert (rotated.status_code, "cannot be reached" in rotated.text) == (503, True)


def test_runs_that_wait_for_a_person_are_shown_and_answered(sites, tmp_path) -> None:
    folder = Folder(tmp_path / "copy")
    folder.path.mkdir()
    for name in ("site.toml", "token", "identity.key", "site.id", "pins.json", "consents.json"):
        (folder.path / name).write_bytes((sites[0].path / name).read_bytes())
    state = State(folder.path / "state.sqlite")
    runs = [f"{digit}aaaaaaa-0000-4000-8000-000000000000" for digit in "12"]
    for run in runs:
        waiting = Approval(
            project_id="p",
            run_id=run,
            task_seq=1,
            name="train",
            digest="d",
            code="ab" * 32,
            task_json=b'{"model":"m"}',
            number=1,
            attempt=1,
            asked_at=1,
            until=0,
            state="waiting",
        )
        state.approvals.ask(waiting)
    with browsing(folder, give_up_s=0.05) as alone:
        shown = said(alone.text("/policy"))
        assert all(text in shown for text in (*runs, "ab" * 32, '{"model":"m"}'))
        wrong = alone.post("/policy/refuse", {"run": runs[1], "reason": "x" * 201})
        assert (wrong.status_code, "one line of 200 characters" in wrong.text) == (422, True)
        assert alone.done("/policy/approve", run=runs[0]) == "/policy"
        assert alone.done("/policy/refuse", run=runs[1], reason="not now") == "/policy"
        assert alone.post("/policy/approve", {"run": runs[1]}).status_code == 409
        assert "Waits for a person here" not in said(alone.text("/policy"))
    answered = [(one.run_id, one.state) for one in state.approvals.latest(9)]
    assert answered == [(runs[1], "refused"), (runs[0], "approved")]
    assert state.approvals.refused_run(runs[1]) == "not now"
    state.close()


def test_a_damaged_site_toml_is_told_and_ends_nothing(sites, tmp_path) -> None:
    folder = Folder(tmp_path / "copy")
    folder.path.mkdir()
    for name in ("site.toml", "token", "identity.key", "site.id"):
        (folder.path / name).write_bytes((sites[0].path / name).read_bytes())
    with browsing(folder, give_up_s=0.05) as browser:
        (folder.path / "site.toml").write_text("hub = ")
        answer = browser.get("/policy")
        assert (answer.status_code, "site.toml" in answer.text) == (409, True)


def test_a_run_has_parameters_of_its_own_and_those_that_others_gave_are_accepted(sites, north: Browser) -> None:
    site = sites[0]
    project = project_of([site], parameters={"speed": 1})
    remember(site.folder, project.id, site.client.project(project.id).tasks)
    wrong = north.post(f"/projects/{project.id}/start", {"parameters": "nonsense"})
    assert (wrong.status_code, 'id="f-parameters-error"' in wrong.text) == (422, True)
    place = north.done(f"/projects/{project.id}/start", parameters="speed = 0.5\nunit = mm", rounds="train = 3")
    spec = site.client.run(place.rpartition("/")[2]).tasks[0].spec
    assert (spec.parameters, spec.rounds) == ({"speed": 0.5, "unit": "mm"}, 3)
    shown = said(north.text(place))
    assert "3 of them are not as the project has them now" in shown
    assert "Not given by this site" not in shown
    until(lambda: site.client.run(place.rpartition("/")[2]).finished)  # one site's update alone is made no model of
    other = site.client.start_run(project.id, parameters={"train": {"speed": 9, EVIL: 1}})
    page = north.text(f"/runs/{other.id}")
    assert "Not given by this site" in said(page)
    assert "speed: 1 -> 9" in said(page)
    assert EVIL not in page
    digest = re.search(r'name="digest" value="(\w+)"', page)
    assert digest is not None
    assert north.post(f"/runs/{other.id}/accept", {"digest": "0" * 64}).status_code >= 400
    north.done(f"/runs/{other.id}/accept", digest=digest[1])
    assert "Not given by this site" not in said(north.text(f"/runs/{other.id}"))
