"""A hub that wants payloads elsewhere, sends them round in circles, or never ends an answer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.liar import Liar, Rule, Told, elsewhere, liar_before
from chaos.lies import Json, edited, told_instead
from fedyard.client.client import Client
from fedyard.client.errors import HubError, Unacceptable, Unavailable
from fedyard.client.transfer import Damaged, Transfer
from tests.fedyard.test_client import QuickClock
from tests.fedyard.world import SiteProcess, World

CHUNKS, CONTENT = "/v1/artifacts/[0-9a-f-]{36}/chunks", "/v1/artifacts/[0-9a-f-]{36}"
PROBLEM = {"Content-Type": "application/problem+json"}
MAX_REQUESTS = 60


@pytest.fixture(scope="module")
def site(world: World, tmp_path_factory: pytest.TempPathFactory) -> SiteProcess:
    (made,) = world.sites(tmp_path_factory.mktemp("transfers"), "north")
    return made


@pytest.fixture(scope="module")
def project(site: SiteProcess) -> str:
    return site.client.create_project(f"of {site.name}", [{"name": "t", "model": "m"}], sealed="optional")


@pytest.fixture
def liar(world: World) -> Iterator[Liar]:
    with liar_before(world.hub) as made:
        yield made


def transfer(liar: Liar, site: SiteProcess, *hosts: str) -> Transfer:
    return Transfer(Client(liar.url, site.folder.token(), clock=QuickClock(), transfer_hosts=hosts))


def uploads_to(url: str) -> Rule:
    """The chunks are to be put there, and are needed whatever was put."""
    return edited("GET", CHUNKS, lambda chunks: {**chunks, "have": [], "need": [0], "uploads": {"0": f"{url}/x"}})


def test_an_upload_does_not_go_elsewhere(liar: Liar, site: SiteProcess, project: str) -> None:
    with elsewhere() as other:
        liar.rules = [uploads_to(other.url)]
        with pytest.raises(Unacceptable, match="transfer_hosts"):
            transfer(liar, site).upload(b"x", project_id=project, kind="result", key="elsewhere")
        assert other.seen == []


def test_an_upload_that_never_arrives_ends(liar: Liar, site: SiteProcess, project: str) -> None:
    with elsewhere() as other:
        liar.rules = [uploads_to(other.url)]
        with pytest.raises(Unacceptable, match="still needs"):
            transfer(liar, site, "127.0.0.1").upload(b"x", project_id=project, kind="result", key="vain")
        assert 0 < len(other.seen) < 10
        assert all("authorization" not in asked.headers for asked in other.seen)


def test_a_redirect_is_not_followed(liar: Liar, site: SiteProcess, project: str) -> None:
    with elsewhere() as inside, elsewhere(Told(307, {"Location": inside.url})) as other:
        liar.rules = [uploads_to(other.url)]
        with pytest.raises(Unacceptable, match="307"):
            transfer(liar, site, "127.0.0.1").upload(b"x", project_id=project, kind="result", key="redirect")
        liar.rules = [told_instead("PUT", f"{CHUNKS}/0", Told(307, {"Location": inside.url}))]
        with pytest.raises(HubError):
            transfer(liar, site).upload(b"x", project_id=project, kind="result", key="redirect-2")
        assert inside.seen == []
        assert len(liar.seen) < MAX_REQUESTS


@pytest.mark.parametrize(
    ("lie", "key"), [({"need": [7]}, "a"), ({"need": [2**70]}, "b"), ({"need": "all"}, "c"), ({"chunk_bytes": 0}, "d")]
)
def test_chunks_that_are_none(liar: Liar, site: SiteProcess, project: str, lie: Json, key: str) -> None:
    liar.rules = [edited("GET", CHUNKS, lambda chunks: {**chunks, **lie})]
    with pytest.raises((Unacceptable, Unavailable)):
        transfer(liar, site).upload(b"x", project_id=project, kind="result", key=f"none-{key}")
    assert len(liar.seen) < MAX_REQUESTS


def test_an_offset_that_is_always_wrong_ends(liar: Liar, site: SiteProcess, project: str) -> None:
    liar.rules = [told_instead("PUT", f"{CHUNKS}/0", Told(409, PROBLEM, b'{"type": "/problems/wrong_offset"}'))]
    with pytest.raises(Unacceptable, match="nowhere"):
        transfer(liar, site).upload(b"x", project_id=project, kind="result", key="offset")
    assert len(liar.seen) < MAX_REQUESTS


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (told_instead("GET", CONTENT, Told(206, {}, b"")), Unavailable),
        (told_instead("GET", CONTENT, Told(200, {}, itertools.repeat(b"y" * 65_536))), Damaged),
        (told_instead("GET", CONTENT, Told(302, {"Location": "/v1/me"})), Unavailable),
        (edited("GET", f"{CONTENT}/about", lambda about: {**about, "size_bytes": 2**50}), Damaged),
        (edited("GET", f"{CONTENT}/about", lambda about: {**about, "chunk_bytes": 0}), Unavailable),
        (edited("GET", f"{CONTENT}/about", lambda about: {**about, "downloads": {}}), Unacceptable),
        (
            edited("GET", f"{CONTENT}/about", lambda about: {**about, "downloads": {"0": "http://127.0.0.2/"}}),
            Unacceptable,
        ),
    ],
)
def test_a_download_ends(
    liar: Liar, site: SiteProcess, project: str, tmp_path: Path, rule: Rule, error: type[Exception]
) -> None:
    artifact = Transfer(site.client).upload(b"x" * 9, project_id=project, kind="result", key="to-read")
    liar.rules = [rule]
    with pytest.raises(error):
        transfer(liar, site).download(artifact, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    assert len(liar.seen) < MAX_REQUESTS


@pytest.mark.parametrize(
    "told",
    [
        Told(200, {}, itertools.repeat(b" " * 65_536)),
        Told(404, {}, itertools.repeat(b" " * 65_536)),
        Told(429, {"Retry-After": "0"}),
        Told(429, {"Retry-After": "9" * 400}),
        Told(301, {"Location": "http://127.0.0.2/"}),
        Told(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"),
        Told(200, {}, b"[" * 1_000_000),
    ],
)
def test_no_answer_keeps_a_caller(liar: Liar, site: SiteProcess, told: Told) -> None:
    clock = QuickClock()
    liar.rules = [told_instead("GET", "/v1/me", told)]
    with pytest.raises(Unavailable):
        Client(liar.url, site.folder.token(), clock=clock, give_up_s=5.0).me()
    assert len(liar.seen) < MAX_REQUESTS


def test_a_list_that_does_not_end(liar: Liar, site: SiteProcess) -> None:
    liar.rules = [told_instead("GET", "/v1/sites", Told(200, {}, b'{"items": [], "next": "again"}'))]
    with pytest.raises(Unavailable, match="no end"):
        Client(liar.url, site.folder.token()).sites()
    assert len(liar.seen) == 2
