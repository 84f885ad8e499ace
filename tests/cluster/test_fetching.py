"""The init step that fetches a project's initial files and lays them into its volume."""

from __future__ import annotations

import io
import json
import threading
import uuid
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fedyard.cluster.conventions import FILES_TOKEN, HUB_URL, MODEL_VERSION, WORKLOAD_ID
from fedyard.cluster.fetching import main
from fedyard.cluster.local.launching import Image
from fedyard.cluster.port import Made, Part, Phase, Spec, Volume
from fedyard.cluster.processes import Processes
from tests.blobs import digest_of


def packed(**files: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return target.getvalue()


class Hub(HTTPServer):
    """Answers with the archive, or the model; `cut` answers end too early, as if a connection broke."""

    archive: bytes | None = None
    model: bytes | None = None
    digest = ""
    refuses = ""
    cut = 0
    asked: list[tuple[str, str, str]]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        hub, span = self.server, self.headers.get("Range", "")
        hub.asked.append((self.path, self.headers["Authorization"], span))
        if hub.refuses:
            self.send_response(409)
            self.end_headers()
            self.wfile.write(json.dumps({"detail": hub.refuses}).encode())
            return
        whole = hub.model if self.path.endswith("/model") else hub.archive
        if whole is None:
            self.send_error(404)
            return
        start = int(span.removeprefix("bytes=").rstrip("-") or 0)
        content = whole[start:]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hub.digest or digest_of(whole)}"')
        self.end_headers()
        if hub.cut:
            hub.cut -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def unpacked(hub: Hub, root: Path, workload: str = "w", version: str | None = None) -> int:
    told = {HUB_URL: f"http://127.0.0.1:{hub.server_port}/", WORKLOAD_ID: workload, FILES_TOKEN: "secret"}
    return main([str(root)], told if version is None else told | {MODEL_VERSION: version})


def seen(root: Path) -> dict[str, str]:
    place = root / "initFiles"
    return {str(one.relative_to(place)): one.read_text() for one in sorted(place.rglob("*")) if one.is_file()}


def test_files_are_laid_where_nothing_is_and_once(hub: Hub, tmp_path: Path) -> None:
    hub.archive = packed(fl_checkpoint="first", **{"model.h5": "model"}, more__words="a b")
    (tmp_path / "initFiles").mkdir()
    stand_in = tmp_path / "initFiles" / "fl_checkpoint"
    stand_in.touch()
    number = stand_in.stat().st_ino
    assert unpacked(hub, tmp_path) == 0
    assert seen(tmp_path) == {"fl_checkpoint": "first", "model.h5": "model", "more/words": "a b"}
    assert stand_in.stat().st_ino == number, "it may be mounted, so it stays the same file"
    assert hub.asked == [("/v1/workloads/w/archive", "Bearer secret", "")]
    stand_in.write_text("of round 7")
    hub.archive = packed(fl_checkpoint="other")
    assert unpacked(hub, tmp_path) == 0
    assert seen(tmp_path)["fl_checkpoint"] == "of round 7"
    assert len(hub.asked) == 1


@pytest.mark.parametrize("there", ["fl_checkpoint", ""])
def test_a_file_that_was_filled_in_part_is_filled_from_its_beginning(hub: Hub, tmp_path: Path, there: str) -> None:
    """Whoever filled it was ended meanwhile; what nobody of ours has begun is the coordinator's own."""
    hub.archive = packed(fl_checkpoint="weights", model__h5="m")
    for name, text in ((".fedyard/fills", there), ("initFiles/fl_checkpoint", "wei")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    assert unpacked(hub, tmp_path) == 0
    assert seen(tmp_path)["fl_checkpoint"] == ("weights" if there else "wei")


def test_a_download_that_is_cut_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    hub.archive, hub.cut = packed(**{"model.h5": "m" * 1000}), 2
    assert unpacked(hub, tmp_path) == 0
    assert seen(tmp_path) == {"model.h5": "m" * 1000}
    half = len(hub.archive) // 2
    assert [span for _, _, span in hub.asked][:2] == ["", f"bytes={half}-"]


def test_without_an_archive_nothing_is_done_and_the_next_start_tries_again(hub: Hub, tmp_path: Path) -> None:
    assert unpacked(hub, tmp_path) == 0
    hub.archive = packed(**{"model.h5": "model"})
    assert unpacked(hub, tmp_path) == 0
    assert seen(tmp_path) == {"model.h5": "model"}


def test_what_is_no_archive_is_told_and_leaves_nothing(hub: Hub, tmp_path: Path, capsys) -> None:
    hub.archive = packed(**{"../escape": "x"})
    assert unpacked(hub, tmp_path) == 1
    assert "cannot be unpacked" in capsys.readouterr().err
    assert not (tmp_path / "initFiles").exists()
    assert not (tmp_path.parent / "escape").exists()


def test_a_model_takes_the_checkpoints_place_once_for_each_workload(hub: Hub, tmp_path: Path) -> None:
    """Another attempt at it goes on with what was written since; the next workload may begin with another one."""
    hub.archive, hub.model = packed(fl_checkpoint="of the archive", **{"model.h5": "model"}), b"version 3"
    assert unpacked(hub, tmp_path, version="3") == 0
    assert seen(tmp_path) == {"fl_checkpoint": "version 3", "model.h5": "model"}
    assert hub.asked[-1] == ("/v1/workloads/w/model", "Bearer secret", "")
    checkpoint, replaced = tmp_path / "initFiles" / "fl_checkpoint", tmp_path / ".fedyard" / "replaced"
    number = checkpoint.stat().st_ino
    checkpoint.write_text("of round 7, which is longer")
    assert unpacked(hub, tmp_path, version="3") == 0
    assert (checkpoint.read_text(), replaced.read_text()) == ("of round 7, which is longer", "of the archive")
    assert unpacked(hub, tmp_path, "without") == 0
    assert checkpoint.read_text() == "of round 7, which is longer"
    assert unpacked(hub, tmp_path, "another", version="3") == 0
    assert (checkpoint.read_text(), replaced.read_text()) == ("version 3", "of round 7, which is longer")
    assert checkpoint.stat().st_ino == number, "it may be mounted, so it stays the same file"


def test_a_model_that_was_laid_in_part_is_laid_whole_and_replaces_nothing_else(hub: Hub, tmp_path: Path) -> None:
    hub.model = b"version 3"
    for name, text in ((".fedyard/lays", "w"), (".fedyard/replaced", "before"), ("initFiles/fl_checkpoint", "vers")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert unpacked(hub, tmp_path, version="3") == 0
    assert seen(tmp_path) == {"fl_checkpoint": "version 3"}
    assert (tmp_path / ".fedyard" / "replaced").read_text() == "before"


@pytest.mark.parametrize("wrong", ["gone", "other"])
def test_without_the_very_model_nothing_begins(hub: Hub, tmp_path: Path, wrong: str, capsys) -> None:
    hub.model, hub.digest = (None, "") if wrong == "gone" else (b"x", digest_of(b"y"))
    (tmp_path / "initFiles").mkdir()
    (tmp_path / "initFiles" / "fl_checkpoint").write_text("before")
    assert unpacked(hub, tmp_path, version="3") == 1
    assert "cannot begin with model version 3" in capsys.readouterr().err
    assert seen(tmp_path) == {"fl_checkpoint": "before"}


@pytest.mark.parametrize("version", [None, "3"])
def test_what_the_hub_refuses_is_told_in_its_own_sentence(
    hub: Hub, tmp_path: Path, version: str | None, capsys
) -> None:
    hub.refuses = "model 3 is not at the hub any more: start with another version, or with none"
    if version is not None:
        (tmp_path / ".fedyard").mkdir()
        (tmp_path / ".fedyard" / "done").touch()
    assert unpacked(hub, tmp_path, version=version) == 1
    assert capsys.readouterr().err.endswith(f": the hub refuses it: {hub.refuses}\n")


def test_as_processes_they_are_there_before_the_program_begins_which_has_no_token(hub: Hub, tmp_path: Path) -> None:
    hub.archive = packed(fl_checkpoint="first", **{"model.h5": "model"})
    cluster = Processes(tmp_path / "cluster", images={"local/sh": Image()})
    volume = Volume(
        "ROOT", [Part()], [Made("initFiles"), Made("initFiles/fl_checkpoint", 0o640, file=True)], FILES_TOKEN
    )
    spec = Spec(
        *(str(uuid.uuid4()) for _ in range(3)),
        attempt=1,
        kind="job",
        image="local/sh",
        command=["sh", "-c", f'cat "$ROOT"/initFiles/*; echo ":${FILES_TOKEN}:"'],
        environment={HUB_URL: f"http://127.0.0.1:{hub.server_port}", WORKLOAD_ID: "w"},
        secrets={FILES_TOKEN: "secret"},
        volume=volume,
    )
    cluster.ensure(spec)
    while cluster.observe(spec.owner)[0].phase not in (Phase.SUCCEEDED, Phase.FAILED):
        cluster.wait(5.0)
    assert cluster.log(spec.attempt_id, after=0, most=1000) == b"firstmodel::\n"
    assert hub.asked[0][1] == "Bearer secret"
    assert cluster.remove_place(spec.owner, spec.place)
    cluster.close()
