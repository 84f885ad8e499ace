"""Artifacts over HTTP: uploaded in chunks with have and need, read with ranges, seen by whom they are for."""

from __future__ import annotations

import base64
import threading
import urllib.request
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from config.clock import SystemClock
from devservers.seaweed import PrivateSeaweed
from fedyard.wire.chunks import CHUNK_BYTES
from tests.blobs import Cut, digest_of, digests_of, noise, pieces_of, s3_url
from tests.disk import small_disk
from tests.waiting import until
from tests.web.network import Caller, Network
from web.api.contents import RIGHTS_EVERY_S
from web.serving.app import web_of

LARGE = noise(2 * CHUNK_BYTES + 1000)
SMALL = b"a result"


def declaring(project: str, content: bytes, kind: str = "result", **more: Any) -> dict[str, Any]:
    return {
        "project_id": project,
        "kind": kind,
        "size_bytes": len(content),
        "digest": digest_of(content),
        "chunk_digests": base64.b64encode(digests_of(content)).decode(),
        **more,
    }


def declare(site: Caller, project: str, content: bytes = SMALL, kind: str = "result", **more: Any) -> str:
    return site.ok("POST", "/v1/artifacts", declaring(project, content, kind, **more))["id"]


def put(site: Caller, artifact: str, number: int, content: bytes, start: int | None = None, **more: Any) -> Any:
    query = "" if start is None else f"?from={start}"
    path = f"/v1/artifacts/{artifact}/chunks/{number}{query}"
    return site.call("PUT", path, data=content, content_type="application/octet-stream", **more)


def upload(site: Caller, project: str, content: bytes = SMALL, kind: str = "result", **more: Any) -> str:
    artifact = declare(site, project, content, kind, **more)
    for number, piece in enumerate(pieces_of(content)):
        assert put(site, artifact, number, piece).status_code == 204
    assert site.ok("POST", f"/v1/artifacts/{artifact}/complete")["state"] == "stored"
    return artifact


def read(caller: Caller, artifact: str, **headers: str) -> Any:
    return caller.get(f"/v1/artifacts/{artifact}", headers=headers)


def refusal(response: Any) -> tuple[int, str]:
    problem = response.get_json()
    assert problem["status"] == response.status_code
    assert problem["detail"]
    return response.status_code, problem["type"].removeprefix("/problems/")


class Yard:
    """A project with three sites, and somebody who has nothing to do with it."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.folder = web_of(net.app).hub.settings.artifacts_url.removeprefix("file:///").removesuffix("artifacts")
        self.coordinator, self.one, self.other, self.stranger = (net.site(f"{n} {id(self)}") for n in range(4))
        self.project = net.project(self.coordinator, self.one, self.other)


@pytest.fixture(scope="module")
def yard(shared: Network) -> Yard:
    return Yard(shared)


def begun(yard: Yard) -> str:
    """A run in training."""
    project = yard.net.project(yard.coordinator, yard.one, yard.other, name=f"run of {yard.net.made}")
    yard.net.made += 1
    run = yard.net.run(yard.coordinator, project)
    for site in (yard.coordinator, yard.one, yard.other):
        assert yard.net.report(site, run, "ready", 1).status_code == 200
    return run


# uploading


def test_a_whole_upload(yard: Yard) -> None:
    site = yard.one
    answer = site.call("POST", "/v1/artifacts", declaring(yard.project, LARGE))
    artifact = answer.get_json()["id"]
    assert answer.status_code == 201
    assert answer.get_json() == {"id": artifact, "state": "declared", "chunk_bytes": CHUNK_BYTES, "need": [0, 1, 2]}
    assert answer.headers["Location"] == f"/v1/artifacts/{artifact}/about"
    parts = pieces_of(LARGE)
    assert put(site, artifact, 1, parts[1]).status_code == 204
    chunks = site.ok("GET", f"/v1/artifacts/{artifact}/chunks")
    assert (chunks["have"], chunks["need"], chunks["partial"], chunks["uploads"]) == ([1], [0, 2], {}, None)
    missing = site.call("POST", f"/v1/artifacts/{artifact}/complete")
    assert refusal(missing) == (409, "chunks_missing")
    assert put(site, artifact, 0, parts[0]).status_code == put(site, artifact, 2, parts[2]).status_code == 204
    done = site.ok("POST", f"/v1/artifacts/{artifact}/complete")
    assert done == {"id": artifact, "state": "stored", "digest": digest_of(LARGE)}
    assert site.ok("GET", f"/v1/artifacts/{artifact}/chunks")["need"] == []
    assert read(site, artifact).data == LARGE


def test_declaring_again_under_the_same_key_is_the_same_upload(yard: Yard) -> None:
    body = declaring(yard.project, LARGE)
    headers = {"Idempotency-Key": f"upload {id(body)}".replace(" ", "-")}
    ids = {yard.one.call("POST", "/v1/artifacts", body, headers=headers).get_json()["id"] for _ in range(2)}
    assert len(ids) == 1


def test_a_repeated_chunk_is_harmless_until_the_artifact_is_stored(yard: Yard) -> None:
    artifact = declare(yard.one, yard.project)
    assert [put(yard.one, artifact, 0, SMALL).status_code for _ in range(3)] == [204] * 3
    yard.one.ok("POST", f"/v1/artifacts/{artifact}/complete")
    assert refusal(put(yard.one, artifact, 0, SMALL)) == (409, "not_taken")


def test_other_bytes_are_refused_and_not_kept(yard: Yard) -> None:
    artifact = declare(yard.one, yard.project)
    assert refusal(put(yard.one, artifact, 0, b"A result")) == (422, "digest_mismatch")
    assert yard.one.ok("GET", f"/v1/artifacts/{artifact}/chunks")["need"] == [0]


@pytest.mark.parametrize(
    ("content", "start"), [(SMALL + b"x", None), (SMALL[:-1], None), (SMALL, 1), (b"x", 8), (b"x", 9)]
)
def test_a_chunk_has_its_length(yard: Yard, content: bytes, start: int | None) -> None:
    artifact = declare(yard.one, yard.project)
    assert refusal(put(yard.one, artifact, 0, content, start)) == (422, "wrong_length")


def test_a_chunk_without_a_length_is_refused(yard: Yard) -> None:
    artifact = declare(yard.one, yard.project)
    more = {"input_stream": BytesIO(SMALL), "headers": {"Transfer-Encoding": "chunked"}}
    response = yard.one.call("PUT", f"/v1/artifacts/{artifact}/chunks/0", **more)
    assert refusal(response) == (411, "length_required")
    assert refusal(put(yard.one, artifact, 0, b"")) == (411, "length_required")


def test_a_chunk_that_is_none_is_not_there(yard: Yard) -> None:
    artifact = declare(yard.one, yard.project)
    assert refusal(put(yard.one, artifact, 1, SMALL)) == (404, "not_found")
    assert put(yard.one, artifact, -1, SMALL).status_code == 404


def cut(site: Caller, artifact: str, number: int, content: bytes, after: int, start: int | None = None) -> Any:
    """A request whose body ends early, as a server hands on a connection that was cut."""
    query = "" if start is None else f"?from={start}"
    stream = Cut(content, after, raises=True)
    environ = {"wsgi.input": stream, "CONTENT_LENGTH": str(len(content))}
    return site.call("PUT", f"/v1/artifacts/{artifact}/chunks/{number}{query}", environ_overrides=environ)


def test_a_chunk_that_was_cut_off_goes_on_where_it_ended(yard: Yard) -> None:
    artifact = declare(yard.one, yard.project, LARGE)
    piece = pieces_of(LARGE)[1]
    assert cut(yard.one, artifact, 1, piece, 1_000_000).get_json() == {"bytes": 1_000_000}
    chunks = yard.one.ok("GET", f"/v1/artifacts/{artifact}/chunks")
    assert (chunks["partial"], chunks["have"]) == ({"1": 1_000_000}, [])
    assert cut(yard.one, artifact, 1, piece[1_000_000:], 500_000, 1_000_000).get_json() == {"bytes": 1_500_000}
    assert refusal(put(yard.one, artifact, 1, piece[1_500_001:], 1_500_001)) == (409, "wrong_offset")
    assert put(yard.one, artifact, 1, piece[1_500_000:], 1_500_000).status_code == 204
    assert yard.one.ok("GET", f"/v1/artifacts/{artifact}/chunks")["have"] == [1]


def test_the_last_byte_is_asked_for_again_where_a_crash_came_before_the_check(yard: Yard) -> None:
    artifact = declare(yard.one, yard.project)
    folder = Path(yard.folder, "artifacts", "parts", artifact)
    folder.mkdir(parents=True)
    (folder / f"0-{artifact}").write_bytes(SMALL)
    assert yard.one.ok("GET", f"/v1/artifacts/{artifact}/chunks")["partial"] == {"0": len(SMALL) - 1}
    assert put(yard.one, artifact, 0, SMALL[-1:], len(SMALL) - 1).status_code == 204


def test_a_chunk_may_come_in_pieces(yard: Yard) -> None:
    artifact = declare(yard.one, yard.project)
    answers = [put(yard.one, artifact, 0, SMALL[at : at + 3], at) for at in (0, 3, 6)]
    assert [answer.status_code for answer in answers] == [200, 200, 204]
    assert [answer.get_json() for answer in answers[:2]] == [{"bytes": 3}, {"bytes": 6}]


def test_uploads_are_their_owners(yard: Yard) -> None:
    artifact = declare(yard.one, yard.project)
    for caller in (yard.coordinator, yard.other, yard.stranger, yard.net.admin):
        assert refusal(put(caller, artifact, 0, SMALL)) == (404, "not_found")
        assert refusal(caller.get(f"/v1/artifacts/{artifact}/chunks")) == (404, "not_found")
        assert refusal(caller.call("POST", f"/v1/artifacts/{artifact}/complete")) == (404, "not_found")


def test_a_person_uploads_for_the_sites_of_its_organisation(yard: Yard) -> None:
    house, other = yard.net.organisation("a setter's"), yard.net.organisation("another's")
    lead, member = yard.net.site(f"lead of {house}", house), yard.net.site(f"member of {other}", other)
    project = yard.net.project(lead, member)
    setter, reader = yard.net.account(house, "member"), yard.net.account(other, "member")

    initial = upload(setter, project, LARGE, "initial")
    about = reader.ok("GET", f"/v1/artifacts/{initial}/about")
    assert (about["owner_site_id"], about["state"], read(reader, initial).data) == (lead.id, "stored", LARGE)

    result = upload(reader, project, SMALL, "result", owner_site_id=member.id)
    assert setter.ok("GET", f"/v1/artifacts/{result}/about")["owner_site_id"] == member.id

    for person, named in ((reader, None), (reader, lead.id), (setter, member.id), (yard.net.admin, None)):
        body = declaring(project, SMALL, "initial", owner_site_id=named)
        assert refusal(person.call("POST", "/v1/artifacts", body)) == (404, "not_found")
    body = declaring(project, SMALL, "initial", owner_site_id=member.id)
    assert refusal(reader.call("POST", "/v1/artifacts", body)) == (
        403,
        "forbidden",
    )  # a participant's are no initial files
    auditor = yard.net.account(house, "auditor")
    assert refusal(auditor.call("POST", "/v1/artifacts", declaring(project, SMALL, "initial"))) == (404, "not_found")


def test_a_transfer_needs_a_place(make_net: Callable[..., Network]) -> None:
    net = make_net(transfers=1)
    yard = Yard(net)
    artifact, other = (declare(yard.one, yard.project) for _ in range(2))
    waits, goes_on = threading.Event(), threading.Event()

    class Slow:
        def read(self, _: int) -> bytes:
            waits.set()
            goes_on.wait(20)
            return b""

    environ = {"wsgi.input": Slow(), "CONTENT_LENGTH": str(len(SMALL))}
    path = f"/v1/artifacts/{artifact}/chunks/0"
    thread = threading.Thread(target=lambda: yard.one.call("PUT", path, environ_overrides=environ))
    thread.start()
    waits.wait(20)
    refused = put(yard.one, other, 0, SMALL)
    assert refusal(refused) == (503, "too_many_transfers")
    assert refused.headers["Retry-After"]
    goes_on.set()
    thread.join()
    assert put(yard.one, other, 0, SMALL).status_code == 204


def test_a_full_disk_is_507_and_nothing_is_half_stored(make_net: Callable[..., Network], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        yard = Yard(make_net(artifacts_url=f"file:///{disk.place}"))
        artifact = declare(yard.one, yard.project, LARGE)
        first, second, third = pieces_of(LARGE)
        assert put(yard.one, artifact, 0, first).status_code == 204
        disk.fill()
        kept = disk.files()
        assert refusal(put(yard.one, artifact, 1, second)) == (507, "storage_full")
        assert disk.files() == kept
        assert put(yard.one, artifact, 2, third).status_code == 204
        assert yard.one.ok("GET", f"/v1/artifacts/{artifact}/chunks")["need"] == [1]


def test_a_store_that_is_away_is_503(make_net: Callable[..., Network], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    yard = Yard(make_net(artifacts_url=f"file:///{tmp_path}/file/below"))
    artifact = declare(yard.one, yard.project)
    response = put(yard.one, artifact, 0, SMALL)
    assert refusal(response) == (503, "storage_unavailable")
    assert response.headers["Retry-After"]


def test_operators_see_that_the_store_is_away(make_net: Callable[..., Network], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    net = make_net(artifacts_url=f"file:///{tmp_path}/file/below")
    until(lambda: net.admin.get("/readyz").status_code == 200)  # announcements are heard a moment after the start
    ready = net.admin.get("/readyz")
    assert ready.get_json()["parts"]["artifacts"] == f"the folder of artifacts cannot be written: {tmp_path}/file"
    assert (ready.status_code, ready.get_json()["status"]) == (200, "ready"), ready.get_json()


def test_a_chunk_that_cannot_be_written_or_read_is_told_to_each_in_his_words(
    make_net: Callable[..., Network], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain sentence for the caller; file and the system's words for the log, and an admin, until it works again."""
    yard = Yard(make_net(artifacts_url=f"file:///{tmp_path}"))
    artifact = declare(yard.one, yard.project)
    drawer = tmp_path / artifact[:2]
    drawer.write_bytes(b"in the way")
    refused = put(yard.one, artifact, 0, SMALL)
    assert refusal(refused) == (503, "storage_unavailable")
    assert refused.get_json()["detail"] == "the store of artifacts cannot be reached; try again"
    told = f"the folder of artifacts: File exists: {drawer}"
    assert told in caplog.records[-1].unit["error"]  # type: ignore[attr-defined]
    said = yard.net.admin.get("/readyz").get_json()
    assert said["status"] == "ready"
    assert said["parts"]["artifacts"].startswith(f"the last chunk could not be written: {told}")
    assert yard.one.get("/readyz").get_json()["parts"]["artifacts"] == "down"
    drawer.unlink()
    assert put(yard.one, artifact, 0, SMALL).status_code == 204
    assert yard.net.admin.get("/readyz").get_json()["parts"]["artifacts"] == "ok"


def test_a_stored_chunk_that_cannot_be_read_is_a_problem_and_no_empty_answer(
    make_net: Callable[..., Network], tmp_path: Path
) -> None:
    yard = Yard(make_net(artifacts_url=f"file:///{tmp_path}"))
    artifact = upload(yard.one, yard.project)
    [chunk] = (tmp_path / artifact[:2] / artifact).iterdir()
    chunk.unlink()
    assert refusal(read(yard.one, artifact)) == (409, "not_stored")
    chunk.mkdir()
    assert refusal(read(yard.one, artifact)) == (503, "storage_unavailable")
    assert f"Is a directory: {chunk}" in yard.net.admin.get("/readyz").get_json()["parts"]["artifacts"]


def counted(net: Network) -> dict[str, float]:
    """What the metrics say of transfers, without what is zero."""
    lines = [line.rsplit(" ", 1) for line in net.admin.get("/metrics").get_data(as_text=True).splitlines()]
    return {
        name.removeprefix("fedyard_transfer"): float(value)
        for name, value in lines
        if name.startswith("fedyard_transfer") and "_created" not in name and float(value)
    }


def test_operators_see_what_moves(make_net: Callable[..., Network]) -> None:
    net = make_net(transfers=1)
    yard = Yard(net)
    assert 'fedyard_transfers_total{direction="in",outcome="whole"} 0.0' in net.admin.get("/metrics").text
    artifact = upload(yard.one, yard.project)
    size = float(len(SMALL))
    expected = {'_bytes_total{direction="in"}': size, 's_total{direction="in",outcome="whole"}': 1.0}
    assert counted(net) == expected
    assert [read(yard.one, artifact).data, read(yard.one, artifact, Range="bytes=1-2").data] == [SMALL, SMALL[1:3]]
    expected |= {'_bytes_total{direction="out"}': size + 2, 's_total{direction="out",outcome="whole"}': 2.0}
    assert counted(net) == expected
    begun = declare(yard.one, yard.project)
    cut(yard.one, begun, 0, SMALL, 3)
    assert refusal(put(yard.one, begun, 0, bytes(len(SMALL)))) == (422, "digest_mismatch")
    expected['_bytes_total{direction="in"}'] += 3 + size
    expected |= {f's_total{{direction="in",outcome="{outcome}"}}': 1.0 for outcome in ("cut", "refused")}
    assert counted(net) == expected
    going_on = yard.one.get(f"/v1/artifacts/{artifact}", buffered=False)
    expected['_bytes_total{direction="out"}'] += size
    assert counted(net) == expected | {'s_under_way{direction="out"}': 1.0}
    assert refusal(put(yard.one, begun, 0, SMALL)) == (503, "too_many_transfers")
    going_on.close()
    expected |= {'s_total{direction="in",outcome="no_place"}': 1.0, 's_total{direction="out",outcome="cut"}': 1.0}
    assert counted(net) == expected
    (chunk,) = Path(yard.folder, "artifacts", artifact[:2], artifact).iterdir()
    chunk.unlink()
    assert refusal(read(yard.one, artifact)) == (409, "not_stored")
    assert counted(net) == expected | {'s_total{direction="out",outcome="failed"}': 1.0}


# reading


@pytest.fixture(scope="module")
def large(yard: Yard) -> str:
    return upload(yard.one, yard.project, LARGE)


def test_the_whole(yard: Yard, large: str) -> None:
    answer = read(yard.one, large)
    assert (answer.status_code, answer.data == LARGE) == (200, True)
    assert answer.headers["Content-Length"] == str(len(LARGE))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"] == f'"{digest_of(LARGE)}"'
    assert answer.headers["Content-Type"] == "application/octet-stream"


@given(first=st.integers(0, len(LARGE) + 10), last=st.none() | st.integers(0, len(LARGE) + 10))
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_any_range(yard: Yard, large: str, first: int, last: int | None) -> None:
    answer = read(yard.one, large, Range=f"bytes={first}-{'' if last is None else last}")
    if last is not None and last < first:
        assert (answer.status_code, len(answer.data)) == (200, len(LARGE))
    elif first >= len(LARGE):
        assert refusal(answer) == (416, "range_not_satisfiable")
        assert answer.headers["Content-Range"] == f"bytes */{len(LARGE)}"
    else:
        end = len(LARGE) if last is None else min(last + 1, len(LARGE))
        assert (answer.status_code, answer.data == LARGE[first:end]) == (206, True)
        assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(LARGE)}"


@given(length=st.integers(1, len(LARGE) + 10))
@example(length=len(LARGE))
@example(length=len(LARGE) + 1)
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_the_last_bytes(yard: Yard, large: str, length: int) -> None:
    answer = read(yard.one, large, Range=f"bytes=-{length}")
    assert (answer.status_code, answer.data == LARGE[-length:]) == (206, True)


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "lines=1-2", "bytes=x", "nonsense", "bytes=5"])
def test_what_is_no_single_range_is_the_whole(yard: Yard, large: str, wanted: str) -> None:
    answer = read(yard.one, large, Range=wanted)
    assert (answer.status_code, len(answer.data)) == (200, len(LARGE))


def test_a_range_of_another_version_is_the_whole(yard: Yard, large: str) -> None:
    ours, other = f'"{digest_of(LARGE)}"', '"something else"'
    assert read(yard.one, large, **{"Range": "bytes=0-0", "If-Range": ours}).status_code == 206
    assert read(yard.one, large, **{"Range": "bytes=0-0", "If-Range": other}).status_code == 200


def test_nothing_can_be_read_too(yard: Yard) -> None:
    artifact = upload(yard.one, yard.project, b"")
    answer = read(yard.one, artifact)
    assert (answer.status_code, answer.data, answer.headers["ETag"]) == (200, b"", f'"{digest_of(b"")}"')
    assert refusal(read(yard.one, artifact, Range="bytes=0-0")) == (416, "range_not_satisfiable")


def test_what_is_not_stored_cannot_be_read(yard: Yard) -> None:
    artifact = declare(yard.one, yard.project)
    assert refusal(read(yard.one, artifact)) == (409, "not_stored")
    yard.one.ok("DELETE", f"/v1/artifacts/{artifact}")
    assert refusal(read(yard.one, artifact)) == (409, "not_stored")
    about = yard.one.ok("GET", f"/v1/artifacts/{artifact}/about")
    assert (about["state"], about["reason"], about["chunk_digests"]) == ("expired", "deleted", "")


# seeing


def sees(caller: Caller, artifact: str) -> tuple[int, int, bool]:
    """Status of the bytes, of what is known of them, and whether a list shows it."""
    listed = caller.ok("GET", "/v1/artifacts?limit=200")["items"]
    about = caller.get(f"/v1/artifacts/{artifact}/about").status_code
    return read(caller, artifact).status_code, about, artifact in {item["id"] for item in listed}


ALL, NOTHING, RECORD = (200, 200, True), (404, 404, False), (404, 200, True)


@pytest.mark.parametrize("kind", ["update", "log", "result"])
def test_a_participants_artifact_is_its_own_and_the_coordinators(yard: Yard, kind: str) -> None:
    run = begun(yard)
    place = {"run_id": run, "task_seq": 1, "round": 1} if kind != "result" else {"run_id": run}
    project = yard.one.ok("GET", f"/v1/runs/{run}")["project_id"]
    artifact = upload(yard.one, project, kind=kind, **place)
    assert sees(yard.one, artifact) == sees(yard.coordinator, artifact) == ALL
    assert sees(yard.other, artifact) == sees(yard.stranger, artifact) == NOTHING
    assert sees(yard.net.admin, artifact) == RECORD


@pytest.mark.parametrize("kind", ["model", "initial"])
def test_models_and_initial_files_are_for_every_member(yard: Yard, kind: str) -> None:
    run = begun(yard)
    project = yard.one.ok("GET", f"/v1/runs/{run}")["project_id"]
    place = {"run_id": run, "task_seq": 1, "round": 1} if kind == "model" else {}
    artifact = upload(yard.coordinator, project, kind=kind, **place)
    assert sees(yard.one, artifact) == sees(yard.other, artifact) == sees(yard.coordinator, artifact) == ALL
    assert sees(yard.stranger, artifact) == NOTHING


def test_members_of_an_organisation_act_for_its_sites(yard: Yard) -> None:
    organisation = yard.one.ok("GET", "/v1/me")["organisation_id"]
    member = yard.net.account(organisation, "member")
    auditor = yard.net.account(yard.net.organisation("auditors"), "auditor")
    artifact = upload(yard.one, yard.project)
    assert sees(member, artifact) == ALL
    assert sees(auditor, artifact) == RECORD


class LaterClock(SystemClock):
    """The machine's time, some seconds ahead."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@pytest.mark.parametrize("lost", ["token", "membership", "nothing"])
def test_who_may_not_read_any_more_does_not_read_to_the_end(make_net: Callable[..., Network], lost: str) -> None:
    clock = LaterClock()
    net = make_net(clock=clock)
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    artifact = upload(oslo, project, LARGE, "initial")
    second = bergen.ok("POST", "/v1/tokens", {"label": "second"})
    answer = net.stranger(second["token"]).get(f"/v1/artifacts/{artifact}", buffered=False)
    coming = answer.iter_encoded()
    got = len(next(coming))
    if lost == "token":
        bergen.ok("DELETE", f"/v1/tokens/{second['id']}")
    elif lost == "membership":
        bergen.ok("DELETE", f"/v1/projects/{project}/members/{bergen.id}")
    clock.ahead_s = RIGHTS_EVERY_S
    got += sum(map(len, coming))
    assert (got == len(LARGE)) == (lost == "nothing")
    assert got < CHUNK_BYTES or lost == "nothing"


def test_a_message_shows_its_artifact_to_whom_it_was_sent(yard: Yard) -> None:
    artifact = upload(yard.coordinator, yard.project)
    assert sees(yard.other, artifact) == NOTHING
    message = {"project_id": yard.project, "to": [yard.other.id], "kind": "result", "artifact_id": artifact}
    ident = yard.coordinator.ok("POST", "/v1/messages", {"messages": [message]})["ids"][0]
    assert sees(yard.other, artifact) == ALL
    assert sees(yard.one, artifact) == NOTHING
    shown = yard.other.ok("GET", f"/v1/messages/{ident}")
    assert (shown["artifact_id"], shown["body"], shown["size_bytes"]) == (artifact, None, len(SMALL))
    entry = yard.other.ok("GET", "/v1/inbox?limit=200")["items"][-1]
    assert (entry["message"]["id"], entry["message"]["artifact_id"]) == (ident, artifact)
    assert yard.other.ok("GET", f"/v1/artifacts/{artifact}/about")["message_id"] == ident


def test_an_update_and_a_model_travel_as_artifacts(yard: Yard) -> None:
    run = begun(yard)
    project = yard.one.ok("GET", f"/v1/runs/{run}")["project_id"]
    for site in (yard.coordinator, yard.one, yard.other):
        update = upload(site, project, LARGE, "update", run_id=run, task_seq=1, round=1)
        assert yard.net.report(site, run, "submit", 2, update_artifact_id=update).status_code == 200
    entries = yard.coordinator.ok("GET", "/v1/inbox?limit=200")["items"]
    updates = [e["message"]["artifact_id"] for e in entries if e["run_id"] == run and e["kind"] == "message"]
    assert [read(yard.coordinator, artifact).data == LARGE for artifact in updates] == [True] * 3
    model = upload(yard.coordinator, project, LARGE, "model", run_id=run, task_seq=1, round=1)
    path = f"/v1/runs/{run}/tasks/1/rounds/1/aggregated"
    yard.coordinator.ok("POST", path, {"model_artifact_id": model, "metrics": {"loss": 0.5}})
    entries = yard.one.ok("GET", "/v1/inbox?limit=200")["items"]
    (told,) = [e["message"] for e in entries if e["run_id"] == run and e["kind"] == "round_completed"]
    assert (told["artifact_id"], told["sha256"]) == (model, digest_of(LARGE))
    assert refusal(yard.coordinator.call("DELETE", f"/v1/artifacts/{model}")) == (409, "artifact_needed")


def test_lists_have_pages_and_filters(yard: Yard) -> None:
    project = yard.net.project(yard.coordinator, yard.one, name=f"list {id(yard)}")
    made = [upload(yard.one, project, b"%d" % number) for number in range(3)]
    made.append(upload(yard.coordinator, project, kind="initial"))
    page = yard.one.ok("GET", f"/v1/artifacts?project={project}&limit=3")
    rest = yard.one.ok("GET", f"/v1/artifacts?project={project}&limit=3&after={page['next']}")
    assert [item["id"] for item in page["items"] + rest["items"]] == made
    kinds = yard.one.ok("GET", f"/v1/artifacts?project={project}&kind=initial")["items"]
    assert [item["id"] for item in kinds] == made[3:]


def test_what_is_known_of_it(yard: Yard) -> None:
    artifact = upload(yard.one, yard.project, LARGE, ttl_s=3600)
    about = yard.coordinator.ok("GET", f"/v1/artifacts/{artifact}/about")
    assert base64.b64decode(about["chunk_digests"]) == digests_of(LARGE)
    assert (about["digest"], about["size_bytes"], about["kind"]) == (digest_of(LARGE), len(LARGE), "result")
    assert (about["owner_site_id"], about["state"], about["downloads"]) == (yard.one.id, "stored", None)
    assert about["expires_at"] > about["stored_at"] >= about["created_at"]


# S3


def test_bytes_need_not_pass_the_hub(make_net: Callable[..., Network], seaweed: PrivateSeaweed) -> None:
    yard = Yard(make_net(artifacts_url=s3_url(seaweed, presign=True)))
    artifact = declare(yard.one, yard.project, LARGE)
    chunks = yard.one.ok("GET", f"/v1/artifacts/{artifact}/chunks")
    assert chunks["partial"] is None
    for number, piece in enumerate(pieces_of(LARGE)):
        total = base64.b64encode(digests_of(LARGE)[32 * number : 32 * number + 32]).decode()
        headers = {"x-amz-checksum-sha256": total}
        request = urllib.request.Request(chunks["uploads"][str(number)], data=piece, method="PUT", headers=headers)
        assert urllib.request.urlopen(request, timeout=30).status == 200
    assert yard.one.ok("POST", f"/v1/artifacts/{artifact}/complete")["state"] == "stored"
    downloads = yard.coordinator.ok("GET", f"/v1/artifacts/{artifact}/about")["downloads"]
    assert b"".join(urllib.request.urlopen(downloads[str(n)], timeout=30).read() for n in range(3)) == LARGE
    assert read(yard.coordinator, artifact, Range="bytes=4194300-4194310").data == LARGE[4194300:4194311]


def test_through_the_hub_into_a_bucket(make_net: Callable[..., Network], seaweed: PrivateSeaweed) -> None:
    yard = Yard(make_net(artifacts_url=s3_url(seaweed)))
    artifact = upload(yard.one, yard.project, LARGE)
    assert read(yard.one, artifact).data == LARGE
    begun_anew = declare(yard.one, yard.project, LARGE)
    assert cut(yard.one, begun_anew, 0, pieces_of(LARGE)[0], 1000).get_json() == {"bytes": 0}
    assert refusal(put(yard.one, begun_anew, 0, b"x", 1)) == (409, "wrong_offset")
