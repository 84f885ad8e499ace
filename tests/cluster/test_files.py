"""The steps that fetch a job's inputs and store its outputs: what they check, repeat and refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedyard.cluster import files
from fedyard.cluster.conventions import FILES_TOKEN, HUB_URL, OUTPUT_MISSING, WORKLOAD_ID
from fedyard.wire.backoff import Backoff
from fedyard.wire.chunks import CHUNK_BYTES, digests_of, tree_digest
from tests.cluster.files_hub import Hub, serving

LARGE = bytes(range(256)) * (2 * CHUNK_BYTES // 256) + b"end"


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with serving() as made:
        yield made


@pytest.fixture
def hub(server: Hub) -> Hub:
    for kept in (server.inputs, server.declared, server.chunks, server.stored, server.asked):
        kept.clear()
    server.refuses, server.busy, server.crowded = None, 0, 0
    return server


def step(hub: Hub, *arguments: object, pauses: Backoff = files.PAUSES) -> int:
    told = {HUB_URL: f"{hub.url}/", WORKLOAD_ID: "w", FILES_TOKEN: "secret"}
    return files.main([str(one) for one in arguments], told, pauses)


def fetch(hub: Hub, folder: Path, content: bytes) -> int:
    return step(hub, "fetch", folder, "model", len(content), tree_digest(digests_of(content)))


def test_an_input_is_fetched_whole_and_once(hub: Hub, tmp_path: Path) -> None:
    hub.inputs["model"] = LARGE
    assert fetch(hub, tmp_path, LARGE) == 0
    assert [(one.name, one.read_bytes() == LARGE) for one in tmp_path.iterdir()] == [("model", True)]
    assert fetch(hub, tmp_path, LARGE) == 0
    assert hub.asked == ["GET /inputs/model"]


@pytest.mark.parametrize("there", [b"weightz", b"weights and more", b"", None])
def test_what_is_not_what_it_shall_be_is_not_used(hub: Hub, tmp_path: Path, there: bytes | None, capsys) -> None:
    if there is not None:
        hub.inputs["model"] = there
    assert fetch(hub, tmp_path, b"weights") == files.CANNOT
    assert "model" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_another_has_left_of_a_download_is_gone_on_with_or_begun_anew(hub: Hub, tmp_path: Path) -> None:
    hub.inputs["model"] = b"weights"
    (tmp_path / ".model.part").write_bytes(b"of something longer")
    assert fetch(hub, tmp_path, b"weights") == 0
    assert (tmp_path / "model").read_bytes() == b"weights"


def test_outputs_are_stored_and_the_next_time_only_what_is_lacking_is_sent(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(LARGE)
    (tmp_path / "none").touch()
    words = ("model", "required", "none", "required", "perhaps", "optional")
    assert step(hub, "store", tmp_path, *words) == 0
    assert hub.stored == {"model": LARGE, "none": b""}
    assert len([one for one in hub.asked if one.startswith("PUT")]) == 3
    hub.asked.clear()
    assert step(hub, "store", tmp_path, *words) == 0
    assert not [one for one in hub.asked if one.startswith("PUT")]


def test_nothing_is_stored_where_something_required_is_missing(hub: Hub, tmp_path: Path, capsys) -> None:
    (tmp_path / "there").write_bytes(b"x")
    assert step(hub, "store", tmp_path, "there", "required", "model", "required") == OUTPUT_MISSING
    assert "no model" in capsys.readouterr().err
    assert hub.asked == []


def test_what_is_no_file_of_the_programs_own_is_no_output(hub: Hub, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of another")
    outputs = tmp_path / "outputs"
    (outputs / "folder").mkdir(parents=True)
    (outputs / "link").symlink_to(secret)
    for name in ("folder", "link"):
        assert step(hub, "store", outputs, name, "optional") == OUTPUT_MISSING
    assert hub.asked == []


def test_another_folder_in_the_place_of_outputs_is_none(hub: Hub, tmp_path: Path, capsys) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "secret").write_text("of another")
    (tmp_path / "outputs").symlink_to(tmp_path / "etc")
    for words in (("secret", "required"), ("secret", "optional")):
        assert step(hub, "store", tmp_path / "outputs", *words) == OUTPUT_MISSING
        assert "is not the folder that the program was given" in capsys.readouterr().err
    (tmp_path / "outputs").unlink()
    assert step(hub, "store", tmp_path / "outputs", "secret", "required") == OUTPUT_MISSING
    assert step(hub, "store", tmp_path / "outputs", "secret", "optional") == 0
    assert hub.asked == []


def test_a_hub_that_is_busy_is_asked_again_and_one_that_refuses_is_not(hub: Hub, tmp_path: Path, capsys) -> None:
    (tmp_path / "model").write_bytes(b"x")
    hub.busy = 2
    at_once = Backoff(first=0.001, most=0.001)
    assert step(hub, "store", tmp_path, "model", "required", pauses=at_once) == 0
    hub.refuses = (409, "project p is archived")
    hub.asked.clear()
    assert step(hub, "store", tmp_path, "model", "required", pauses=at_once) == files.CANNOT
    assert "project p is archived" in capsys.readouterr().err
    assert hub.asked == ["POST /outputs/model"]
    hub.refuses, hub.busy = None, files.TRIES
    assert step(hub, "store", tmp_path, "model", "required", pauses=at_once) == files.CANNOT


def test_who_finds_as_many_others_storing_as_may_waits_for_them(hub: Hub, tmp_path: Path, capsys) -> None:
    """Jobs that end together: the hub takes so many unfinished artifacts of one site, and a refusal stays its key's."""
    (tmp_path / "model").write_bytes(b"x")
    at_once = Backoff(first=0.001, most=0.001)
    hub.crowded = files.TRIES - 1
    assert step(hub, "store", tmp_path, "model", "required", pauses=at_once) == 0
    hub.crowded = files.TRIES
    assert step(hub, "store", tmp_path, "model", "required", pauses=at_once) == files.CANNOT
    assert "declared and not stored" in capsys.readouterr().err
