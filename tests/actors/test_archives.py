"""Archives of initial files: read once they are stored, and used only when all is well; on both databases."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actors.archives import ArchiveDoer
from broker.port import Temporary
from domain import commands as c
from domain import records as r
from domain import values as v
from domain.commands import Envelope
from domain.values import Subject
from fedyard.cluster.archives.limits import Limits
from fedyard.wire.chunks import Chunk, chunks_of, tree_digest
from storage.blobs.folder import FolderBlobs
from storage.blobs.port import StorageUnavailable
from storage.due import Due
from tests.blobs import digest_of, digests_of, noise, pieces_of
from tests.hub import Hub

DAY = 86_400
PARTS = v.Infrastructure(coordinator_image="c:1", selector_image="s:1")


def zipped(**files: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return target.getvalue()


GOOD = zipped(model__h5=b"model", fl_checkpoint=b"checkpoint")


@dataclass
class Yard:
    hub: Hub
    boss: Subject
    member: Subject
    project: str
    blobs: FolderBlobs

    def declare(self, content: bytes, project: str = "", **more: Any) -> str:
        command = c.DeclareArtifact(
            owner_site_id=self.boss.id, project_id=project or self.project, size_bytes=len(content),
            digest=digest_of(content), chunk_digests=digests_of(content), **{"of_kind": "initial", **more},
        )  # fmt: skip
        return str(self.hub.ok(command, self.boss)["id"])

    def upload(self, content: bytes, **more: Any) -> str:
        artifact = self.declare(content, **more)
        for chunk, piece in zip(chunks_of(len(content), digests_of(content)), pieces_of(content), strict=True):
            self.blobs.put(artifact, chunk, io.BytesIO(piece), start=0, length=len(piece))
        self.complete(artifact, content)
        return artifact

    def complete(self, artifact: str, content: bytes) -> None:
        self.hub.ok(c.CompleteArtifact(artifact_id=artifact, found=digests_of(content)), self.boss)

    def asked(self) -> list[Envelope]:
        asked, self.hub.done = self.hub.done, []
        return [each for each in asked if isinstance(each.command, c.CheckArchive)]

    def checked(self, limits: Limits | None = None) -> list[c.ReportArchive]:
        """What the doer reports of all that it was asked, decided."""
        reports: list[Any] = [each for one in self.asked() for each in ArchiveDoer(self.blobs, limits)(one)]
        for report in reports:
            self.hub.ok(report)
        return reports

    def archive(self, artifact: str) -> r.Archive | None:
        return next(iter(self.hub.rows(r.Archive, "artifact_id = %s", artifact)), None)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        found = sorted(self.hub.rows(r.Event, "stream_id = %s", self.project), key=lambda event: event.seq)
        return [(event.kind, json.loads(event.facts_json)) for event in found if event.kind.startswith("archive")]


@pytest.fixture
def yard(hub: Hub, tmp_path: Path) -> Yard:
    boss, member = hub.sites(2)
    project = hub.project([boss, member], infrastructure=PARTS)
    return Yard(hub, boss, member, project, FolderBlobs(tmp_path / "artifacts"))


def test_a_good_archive_is_checked_and_gets_the_projects_next_version(yard: Yard) -> None:
    first = yard.upload(GOOD)
    archive = yard.archive(first)
    assert archive is not None
    assert (archive.state, archive.version) == ("checking", None)

    yard.checked()
    second = yard.upload(zipped(model__h5=b"2", fl_checkpoint=b"2", notes=b""))
    yard.checked()

    found = [yard.archive(first), yard.archive(second)]
    assert [(each.state, each.version, each.flaw) for each in found if each] == [("checked", 1, ""), ("checked", 2, "")]
    assert archive.required_json == '["model.h5","fl_checkpoint"]'
    shown = json.loads(found[0].files_json) if found[0] else []
    assert [(file["path"], file["size_bytes"]) for file in shown] == [("fl_checkpoint", 10), ("model.h5", 5)]
    assert [(kind, facts["version"], facts["files"]) for kind, facts in yard.events()] == [
        ("archive_checked", 1, 2),
        ("archive_checked", 2, 3),
    ]


@pytest.mark.parametrize(
    ("content", "flaw", "detail"),
    [
        (b"no archive", "not_an_archive", "this is no zip or tar archive"),
        (zipped(model__h5=b"1"), "missing", "the file fl_checkpoint is not at the top"),
        (GOOD[:-30], "damaged", "its directory is missing"),
    ],
)
def test_what_does_not_count_is_refused_with_the_reason(yard: Yard, content: bytes, flaw: str, detail: str) -> None:
    artifact = yard.upload(content)
    yard.checked()
    archive = yard.archive(artifact)
    assert archive is not None
    assert (archive.state, archive.version, archive.flaw, archive.files_json) == ("refused", None, flaw, "[]")
    assert detail in archive.detail
    ((kind, facts),) = yard.events()
    assert (kind, facts["flaw"], "detail" in facts) == ("archive_refused", flaw, False)


def test_it_is_read_over_the_ends_of_chunks(yard: Yard) -> None:
    target, content = io.BytesIO(), noise(9_000_000)
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in ("model.h5", "fl_checkpoint"):
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    yard.upload(target.getvalue())
    (report,) = yard.checked()
    assert [file.size_bytes for file in report.files] == [9_000_000, 9_000_000]


def test_the_limits_hold_while_it_is_read(yard: Yard) -> None:
    yard.upload(GOOD)
    assert [report.flaw for report in yard.checked(Limits(total_bytes=10))] == ["too_large"]


@pytest.mark.parametrize(
    ("options", "infrastructure", "expected"),
    [
        ({}, PARTS, "awaited"),
        ({}, None, None),
        ({"archive": True}, None, "awaited"),
        ({"archive": False}, PARTS, None),
        ({"of_kind": "result"}, PARTS, None),
    ],
)
def test_which_artifacts_are_archives(yard: Yard, options: Any, infrastructure: Any, expected: str | None) -> None:
    project = yard.hub.project([yard.boss], infrastructure=infrastructure)
    archive = yard.archive(yard.declare(GOOD, project, **options))
    assert (None if archive is None else archive.state) == expected


def test_an_archive_is_an_initial_file_and_not_sealed(yard: Yard) -> None:
    fields: dict[str, Any] = {
        "owner_site_id": yard.boss.id, "size_bytes": 1, "digest": tree_digest(bytes(32)), "chunk_digests": bytes(32),
        "archive": True,
    }  # fmt: skip
    declare = c.DeclareArtifact(project_id=yard.project, of_kind="result", **fields)
    assert yard.hub.refused(declare, yard.boss) == (422, "impossible")
    sealed = yard.hub.project([yard.boss], sealed="required", infrastructure=PARTS)
    declare = c.DeclareArtifact(project_id=sealed, of_kind="initial", **fields)
    assert yard.hub.refused(declare, yard.boss) == (422, "unsealed")


def test_the_first_report_counts_and_only_the_hub_makes_one(yard: Yard) -> None:
    artifact = yard.upload(GOOD)
    (report,) = yard.checked()
    again = c.ReportArchive(project_id=yard.project, artifact_id=artifact, flaw="bomb", detail="x")
    assert yard.hub.ok(again) == {"state": "checked"}
    assert yard.hub.refused(report, yard.boss) == (403, "forbidden")
    none = c.ReportArchive(project_id=yard.project, artifact_id=yard.boss.id)
    assert yard.hub.ok(none) == {"state": None}


def test_what_was_deleted_meanwhile_is_not_there(yard: Yard) -> None:
    artifact = yard.upload(GOOD)
    (asked,) = yard.asked()
    yard.hub.ok(c.DeleteArtifact(artifact_id=artifact), yard.boss)
    yard.blobs.delete(artifact)
    (report,) = ArchiveDoer(yard.blobs)(asked)
    assert (report.flaw, yard.hub.ok(report)) == ("not_stored", {"state": None})  # type: ignore[union-attr]


class Away(FolderBlobs):
    """A store that does not answer."""

    def read(self, artifact: str, chunk: Chunk, start: int, end: int) -> Iterator[bytes]:
        raise StorageUnavailable("gone for a walk")


def test_where_the_store_is_away_it_is_done_later(yard: Yard, tmp_path: Path) -> None:
    yard.upload(GOOD)
    (asked,) = yard.asked()
    with pytest.raises(Temporary, match="gone for a walk"):
        ArchiveDoer(Away(tmp_path / "artifacts"))(asked)


def test_a_check_that_was_lost_is_begun_again_an_hour_later(yard: Yard) -> None:
    artifact = yard.upload(GOOD)
    assert len(yard.asked()) == 1
    yard.complete(artifact, GOOD)
    assert yard.asked() == []
    yard.hub.clock.sleep(3601)
    yard.complete(artifact, GOOD)
    yard.checked()
    yard.hub.clock.sleep(3601)
    yard.complete(artifact, GOOD)
    assert yard.asked() == []


def test_a_checked_archive_is_kept_while_its_project_lives(yard: Yard) -> None:
    kept, refused, short = yard.upload(GOOD), yard.upload(b"none"), yard.upload(GOOD, ttl_s=DAY)
    yard.checked()
    plain = yard.upload(GOOD, archive=False)

    def expired() -> set[str]:
        yard.hub.clock.sleep(31 * DAY)
        now = yard.hub.clock.now()
        with yard.hub.database.connection():
            found = Due(yard.hub.database).expired_artifacts(now, now - 30 * DAY * 1_000_000)
        everything = [kept, refused, short, plain]
        assert set(yard.hub.ok(c.ExpireArtifacts(artifact_ids=everything))["expired"]) == set(found)
        return set(found)

    assert expired() == {refused, short, plain}
    assert expired() == set()
    yard.hub.ok(c.ArchiveProject(project_id=yard.project), yard.boss)
    assert expired() == {kept}
