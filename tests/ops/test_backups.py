"""Backups: whole or not at all, provable without the hub, put back without losing what was there."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest

from actors.deciding import decide_now
from config.clock import draw_id
from devservers.postgres import PrivatePostgres
from domain import commands as c
from domain import records as r
from domain.codec import THE_HUB, envelope_of
from domain.commands import ChangeHistory
from domain.values import Subject
from fedyard.wire.chunks import chunk_of, tree_digest
from ops.backups.content import About, Form, about
from ops.backups.history import REASON, history_of, new_history
from ops.backups.restoring import Files, restore_database, restore_files
from ops.place import PASSED_THROUGH, RESTORING, Whereabouts, only_hub_in, remember
from storage.blobs.folder import FolderBlobs
from storage.database import open_database
from storage.history import read_history
from storage.migrate import migrate
from storage.store import Store
from tests.databases import fresh_postgres, fresh_sqlite, lent_postgres
from tests.hub import Hub
from tests.ops.program import Program, call, create_account, fedyard
from tests.waiting import until


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    data = tmp_path / "hub"
    data.mkdir()
    if request.param == "sqlite":
        url = fresh_sqlite(data / "store.sqlite")
        yield Place(data, {"FEDYARD_DATABASE_URL": url, "FEDYARD_BROKER_URL": f"embedded:///{data}/journal.sqlite"})
        return
    with lent_postgres(request.getfixturevalue("postgres")) as url:
        yield Place(data, {"FEDYARD_DATABASE_URL": url})


class Place:
    """A hub's data, and the commands on it."""

    def __init__(self, data: Path, variables: dict[str, str]) -> None:
        self.data = data
        self.variables = {"FEDYARD_ARTIFACTS_URL": f"file:///{data}/artifacts", **variables}
        self.hub = Hub(open_database(variables["FEDYARD_DATABASE_URL"], pool=2))

    def fedyard(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return fedyard(*arguments, "--data", self.data, **self.variables)

    def backup(self, name: str = "kept", *more: str) -> Path:
        target = self.data.parent / name
        done = self.fedyard("backup", "--to", target, *more)
        assert done.returncode == 0, done.stderr
        return target

    def names(self) -> set[str]:
        return {site.name for site in self.hub.rows(r.Site)}

    def close(self) -> None:
        self.hub.database.close()


def test_what_was_there_comes_back_and_what_came_later_is_put_aside(place: Place) -> None:
    place.hub.site("oslo")
    kept = place.backup()
    place.hub.site("bergen")
    place.close()
    refused = place.fedyard("restore", kept)
    assert (refused.returncode, "--replace" in refused.stderr) == (2, True), refused.stderr
    assert place.names() == {"oslo", "bergen"}
    place.close()
    done = place.fedyard("restore", kept, "--replace")
    assert done.returncode == 0, done.stderr
    assert place.names() == {"oslo"}
    assert "put aside" in done.stdout
    told = read_history(place.hub.database)
    assert (told.history_id in done.stdout, told.changes, told.reason) == (True, 1, "a backup was restored")
    assert place.fedyard("events", "verify").returncode == 0
    place.hub.site("tromsø")  # and it goes on
    place.close()
    again = place.fedyard("restore", kept, "--replace")
    assert (again.returncode, place.names()) == (0, {"oslo"}), again.stderr
    place.close()


def test_two_restores_of_the_same_second_both_keep_what_they_put_aside(place: Place) -> None:
    kept = place.backup()
    places = []
    for name in ("oslo", "bergen"):
        place.hub.site(name)
        place.close()
        if url := place.variables.get("FEDYARD_BROKER_URL"):
            files = Files(place.data, place.data / "store.sqlite", Path(url.removeprefix("embedded://")))
            aside = restore_files(kept, files, "20261128T010203Z", draw_id(), 77, replace=True)
            with closing(sqlite3.connect(f"{aside}/store.sqlite")) as store:
                names = store.execute("SELECT name FROM sites").fetchall()
        else:
            database_url = place.variables["FEDYARD_DATABASE_URL"]
            aside = restore_database(kept, database_url, "20261128T010203Z", draw_id(), 77, replace=True)
            with place.hub.database.connection():
                names = place.hub.database.all(f'SELECT name FROM "{str(aside).split()[2]}".sites')
            place.close()
        places.append((aside, [str(row[0]) for row in names]))
    (first, in_first), (second, in_second) = places
    assert (in_first, in_second) == (["oslo"], ["bergen"])
    assert first != second


def test_a_backup_is_its_owners_alone_and_says_what_it_is(place: Place) -> None:
    place.hub.site("oslo")
    kept = place.backup()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.rglob("*") if path.is_file()} == {0o600}
    assert not list(kept.parent.glob(".*unfinished"))
    found = about(kept)
    assert (found.streams, found.artifacts) == (2, 0)  # an organisation's and a site's
    sums = subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=kept, check=False, capture_output=True)
    assert sums.returncode == 0, sums.stdout
    second = place.fedyard("backup", "--to", kept)
    assert (second.returncode, "exists already" in second.stderr) == (2, True)
    place.close()


def test_a_backup_is_proved_without_the_hub(place: Place) -> None:
    place.hub.site("oslo")
    kept = place.backup()
    place.close()
    shutil.rmtree(place.data)
    done = fedyard("backup", "check", kept, "--data", place.data)
    assert (done.returncode, "the backup is good" in done.stdout) == (0, True), done.stdout + done.stderr
    with (kept / "heads.jsonl").open("a") as file:
        file.write("{}\n")
    changed = fedyard("backup", "check", kept, "--data", place.data)
    assert (changed.returncode, "heads.jsonl was changed" in changed.stdout) == (1, True)
    place.data.mkdir()
    refused = place.fedyard("restore", kept)
    assert (refused.returncode, "heads.jsonl was changed" in refused.stderr) == (2, True)


def test_a_broken_chain_is_found_in_a_backup_whose_files_are_as_they_were_written(place: Place) -> None:
    site = place.hub.site("oslo")
    with place.hub.database.connection():
        place.hub.database.execute("UPDATE events SET kind = 'site_retired' WHERE stream_id = %s", (site.id,))
    kept = place.backup()
    place.close()
    done = place.fedyard("backup", "check", kept)
    assert (done.returncode, "was changed, or the one before it" in done.stdout) == (1, True), done.stdout


def test_missing_artifacts_are_named_and_those_in_the_backup_come_back(place: Place) -> None:
    one, other = place.hub.sites(2)
    project = place.hub.project([one, other])
    content = os.urandom(1000)
    artifact = stored_artifact(place, one.id, project, content)
    bare, whole = place.backup("bare"), place.backup("whole", "--artifacts")
    shutil.rmtree(place.data / "artifacts")
    place.close()
    lacking = place.fedyard("backup", "check", bare)
    assert (lacking.returncode, f"artifact {artifact}" in lacking.stdout) == (1, True), lacking.stdout
    assert place.fedyard("backup", "check", whole).returncode == 0
    done = place.fedyard("restore", whole, "--replace")
    assert done.returncode == 0, done.stderr
    found = [path.read_bytes() for path in (place.data / "artifacts").rglob("*") if path.is_file()]
    assert content in found
    place.close()


def stored_artifact(place: Place, owner: str, project: str, content: bytes) -> str:
    """An artifact as the web and the decider leave it."""
    digests = hashlib.sha256(content).digest()
    site, chunk = Subject(kind="site", id=owner), chunk_of(0, len(content), digests)
    declared = c.DeclareArtifact(
        project_id=project,
        owner_site_id=owner,
        of_kind="result",
        size_bytes=len(content),
        digest=tree_digest(digests),
        chunk_digests=digests,
    )
    made = place.hub.ok(declared, site)["id"]
    FolderBlobs(place.data / "artifacts").put(made, chunk, BytesIO(content), start=0, length=len(content))
    place.hub.ok(c.CompleteArtifact(artifact_id=made, found=digests), site)
    return str(made)


def test_a_running_hub_is_copied_with_its_journal_and_not_overwritten(tmp_path: Path) -> None:
    data, kept = tmp_path / "hub", tmp_path / "kept"
    hub = Program(tmp_path / "log", "embedded", "--data", data, "--port", "0")
    try:
        api = hub.ready()
        token = create_account(data)
        until(lambda: call(api, "/v1/organisations", token, {"name": "Before"}, wait=20)[0] in (201, 409))
        done = fedyard("backup", "--to", kept, "--data", data)
        assert done.returncode == 0, done.stderr
        assert (kept / "journal.sqlite").exists()
        until(lambda: call(api, "/v1/organisations", token, {"name": "After"}, wait=20)[0] in (201, 409))
        refused = fedyard("restore", kept, "--replace", "--data", data)
        assert refused.returncode == 2
        assert f"a hub runs on {data}: stop it first" in refused.stderr
    finally:
        hub.end(signal.SIGKILL)
    assert fedyard("restore", kept, "--replace", "--data", data).returncode == 0
    names = fedyard("organisation", "list", "--data", data).stdout
    assert ("Before" in names, "After" in names) == (True, False)
    aside = next(data.glob("before-restore-*"))
    with closing(sqlite3.connect(aside / "store.sqlite")) as before:
        assert {"Before", "After"} <= {row[0] for row in before.execute("SELECT name FROM organisations")}


def test_a_private_database_that_holds_records_is_the_one_restored_to(servers_folder: Path, tmp_path: Path) -> None:
    """As root, PostgreSQL's account has to pass through the hub's folder: an empty server elsewhere would be filled."""
    data, kept = servers_folder / "hub", tmp_path / "kept"
    hub_sites(data, "before")
    data.chmod(0o700)
    assert fedyard("backup", "--to", kept, "--data", data).returncode == 0
    hub_sites(data, "after")
    data.chmod(0o700)
    refused = fedyard("restore", kept, "--data", data)
    assert (refused.returncode, "holds a hub's records already" in refused.stderr) == (2, True), refused.stderr
    done = fedyard("restore", kept, "--replace", "--data", data)
    assert (done.returncode, "put aside" in done.stdout) == (0, True), done.stderr
    assert not (data / "postgres" / "moved").exists()
    assert hub_sites(data) == {"before"}


def hub_sites(data: Path, *more: str) -> set[str]:
    """The sites of the hub that `make up` would start in the folder, after `more` were enrolled."""
    with only_hub_in(data, PASSED_THROUGH):
        server = PrivatePostgres(data / "postgres", durable=False)
        server.start()
        try:
            url = server.database("fedyard")
            remember(data, Whereabouts({"FEDYARD_DATABASE_URL": url}, "http://127.0.0.1:1"))
            database = open_database(url, pool=2)
            migrate(database)
            hub = Hub(database)
            for name in more:
                hub.site(name)
            names = {site.name for site in hub.rows(r.Site)}
            database.close()
        finally:
            server.stop()
    return names


def test_a_machine_that_never_had_a_hub_gets_one(tmp_path: Path) -> None:
    data, elsewhere, kept = tmp_path / "hub", tmp_path / "elsewhere", tmp_path / "kept"
    data.mkdir()
    place = Place(data, {"FEDYARD_DATABASE_URL": fresh_sqlite(data / "store.sqlite")})
    place.hub.site("oslo")
    place.close()
    assert place.fedyard("backup", "--to", kept).returncode == 0
    done = fedyard("restore", kept, "--data", elsewhere)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(elsewhere / "store.sqlite")) as records:
        assert records.execute("SELECT name FROM sites").fetchall() == [("oslo",)]


def test_no_hub_starts_on_a_restore_that_was_cut_off_and_another_restore_ends_it(tmp_path: Path) -> None:
    data, kept = tmp_path / "hub", tmp_path / "kept"
    data.mkdir()
    place = Place(data, {"FEDYARD_DATABASE_URL": fresh_sqlite(data / "store.sqlite")})
    place.hub.site("oslo")
    place.close()
    assert place.fedyard("backup", "--to", kept).returncode == 0
    (data / "store.sqlite").rename(data / "moved")  # killed in between
    (data / RESTORING).write_text("kept")
    started = fedyard("embedded", "--data", data, "--port", "0")
    assert (started.returncode, "was cut off: run fedyard-hub restore again" in started.stderr) == (2, True)
    assert fedyard("restore", kept, "--data", data).returncode == 0
    assert not (data / RESTORING).exists()


def test_a_hub_that_works_on_the_database_is_not_overwritten(postgres: PrivatePostgres, tmp_path: Path) -> None:
    with lent_postgres(postgres) as url:
        place = Place(tmp_path, {"FEDYARD_DATABASE_URL": url})
        kept = tmp_path / "kept"
        assert place.fedyard("backup", "--to", kept).returncode == 0
        place.close()
        decider = open_database(url, pool=1, name="fedyard decider")
        with decider.connection():
            refused = place.fedyard("restore", kept, "--replace")
        decider.close()
    assert refused.returncode == 2
    assert "a hub works on this database (fedyard decider): stop it first" in refused.stderr


def test_what_is_no_backup_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments in (("backup", "check", tmp_path / "empty"), ("restore", tmp_path / "empty")):
        done = fedyard(*arguments, "--data", tmp_path / "hub")
        assert (done.returncode, "is no backup" in done.stderr) == (2, True), done.stderr
        assert len(done.stderr.splitlines()) == 1
    nowhere = fedyard("backup", "--data", tmp_path / "hub")
    assert (nowhere.returncode, "no hub was started" in nowhere.stderr) == (2, True)


def test_records_of_the_other_database_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "hub"
    data.mkdir()
    place = Place(data, {"FEDYARD_DATABASE_URL": fresh_sqlite(data / "store.sqlite")})
    kept = place.backup()
    place.close()
    url = "postgresql://nobody:none@127.0.0.1:1/none"
    done = fedyard("restore", kept, "--data", tmp_path / "other", FEDYARD_DATABASE_URL=url)
    assert (done.returncode, "holds records of SQLite" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("form", ["sqlite", "postgresql"])
def test_a_restore_tells_a_history_as_the_decision_does(
    form: Form, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """By SQL, since it has to work on older schemas too; so this holds the two together."""
    rows = []
    for way in ("restore", "decision"):
        if form == "sqlite":
            url = fresh_sqlite(tmp_path / f"{way}.sqlite")
        else:
            url = fresh_postgres(request.getfixturevalue("postgres"))
        database = open_database(url)
        with database.connection():
            database.execute('UPDATE history SET changes = 4, fingerprint = \'{"file":"1"}\'')
            before = history_of(database)
        drawn = draw_id()
        if way == "restore":
            found = About(
                form=form,
                made_at="",
                history_id=before,
                schema=[],
                streams=0,
                artifacts=0,
                artifact_bytes=0,
                copied=False,
            )
            with database.connection():
                database.execute(new_history(found, drawn, 77).rstrip(";\n"))
        else:
            command = ChangeHistory(before=before, history_id=drawn, fingerprint="", reason=REASON, known=False)
            decide_now(Store(database), [envelope_of(command, id=draw_id(), by=THE_HUB, at=77)], 77)
        with database.connection():
            row = database.one("SELECT history_id, one, since, changes, reason, fingerprint FROM history")
        database.close()
        assert row is not None
        assert row[0] == drawn
        rows.append(row[1:])
    assert rows[0] == rows[1]
