"""The contract of the stores of chunks, over a folder and over S3, and what each does besides."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

from config.clock import SystemClock, draw_id
from config.settings import SettingsError
from devservers.seaweed import PrivateSeaweed
from storage.blobs.folder import FolderBlobs
from storage.blobs.opening import open_blobs
from storage.blobs.port import BLOCK_BYTES, Blobs, DigestMismatch, OffsetMismatch, StorageFull, StorageUnavailable
from tests.blobs import Cut, chunk, folder_blobs, noise, s3_url, whole
from tests.disk import small_disk

ROOT = Path(__file__).parent.parent.parent
CONTENT = noise(3 * BLOCK_BYTES + 5)
CHUNK = chunk(CONTENT)


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        return folder_blobs(tmp_path / "artifacts")
    return open_blobs(s3_url(request.getfixturevalue("seaweed")), SystemClock())


@pytest.fixture
def folder(tmp_path: Path) -> Blobs:
    return folder_blobs(tmp_path)


@pytest.fixture
def artifact() -> str:
    return draw_id()


def put(blobs: Blobs, artifact: str, content: object, *, start: int = 0, length: int | None = None) -> int:
    return blobs.put(artifact, CHUNK, content, start=start, length=length or len(CONTENT) - start)


def read(blobs: Blobs, artifact: str, start: int = 0, end: int = len(CONTENT)) -> bytes:
    return b"".join(blobs.read(artifact, CHUNK, start, end))


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# the contract


def test_what_was_put_can_be_read_whole_and_in_parts(blobs: Blobs, artifact: str) -> None:
    assert blobs.ready() is None
    assert put(blobs, artifact, BytesIO(CONTENT)) == len(CONTENT)
    assert blobs.ready() is None
    assert blobs.have(artifact) == {0: CHUNK.sha256}
    assert read(blobs, artifact) == CONTENT
    assert read(blobs, artifact, 7, BLOCK_BYTES + 9) == CONTENT[7 : BLOCK_BYTES + 9]
    assert read(blobs, artifact, len(CONTENT) - 1) == CONTENT[-1:]


def test_blocks_are_small(blobs: Blobs, artifact: str) -> None:
    whole(blobs, artifact, CONTENT)
    assert max(map(len, blobs.read(artifact, CHUNK, 0, len(CONTENT)))) <= BLOCK_BYTES


def test_nothing_is_there_at_first(blobs: Blobs, artifact: str) -> None:
    assert blobs.have(artifact) == {}
    assert blobs.parts(artifact) == {}
    assert list(blobs.stored()) == []
    with pytest.raises(KeyError):
        blobs.read(artifact, CHUNK, 0, 1)


def test_other_bytes_than_declared_are_not_kept(blobs: Blobs, artifact: str) -> None:
    with pytest.raises(DigestMismatch):
        put(blobs, artifact, BytesIO(b"x" + CONTENT[1:]))
    assert blobs.have(artifact) == {}
    assert blobs.parts(artifact) == {}


def test_a_repeat_is_harmless(blobs: Blobs, artifact: str) -> None:
    for _ in range(3):
        assert put(blobs, artifact, BytesIO(CONTENT)) == len(CONTENT)
    assert read(blobs, artifact) == CONTENT


@pytest.mark.parametrize("raises", [False, True], ids=["ends", "raises"])
def test_a_chunk_that_was_cut_off_is_not_there(blobs: Blobs, artifact: str, raises: bool) -> None:
    there = put(blobs, artifact, Cut(CONTENT, 300_000, raises))
    assert blobs.have(artifact) == {}
    assert there == (300_000 if blobs.keeps_parts else 0)
    assert put(blobs, artifact, BytesIO(CONTENT[there:]), start=there) == len(CONTENT)
    assert read(blobs, artifact) == CONTENT
    assert blobs.parts(artifact) == {}


def test_going_on_where_nothing_is_says_what_is_there(blobs: Blobs, artifact: str) -> None:
    with pytest.raises(OffsetMismatch) as caught:
        put(blobs, artifact, BytesIO(CONTENT[9:]), start=9)
    assert caught.value.there == 0


def test_each_artifact_has_its_own(blobs: Blobs, artifact: str) -> None:
    other = draw_id()
    whole(blobs, artifact, CONTENT)
    whole(blobs, artifact, b"second", 1)
    whole(blobs, other, b"other")
    assert sorted(blobs.have(artifact)) == [0, 1]
    assert {one.artifact for one in blobs.stored()} == {artifact, other}
    blobs.delete(artifact)
    assert blobs.have(artifact) == {}
    assert list(blobs.have(other)) == [0]


def test_deleting_twice_or_nothing_is_fine(blobs: Blobs, artifact: str) -> None:
    whole(blobs, artifact, CONTENT)
    for _ in range(2):
        blobs.delete_parts(artifact)
        blobs.delete(artifact)
    assert list(blobs.stored()) == []


def test_the_ledger_keeps_names_and_is_no_artifact(blobs: Blobs, artifact: str) -> None:
    put(blobs, artifact, BytesIO(CONTENT))
    names = [f"token-{sha256(b'a token').hexdigest()}", f"site-{artifact}"]
    for name in (*names, names[0]):
        blobs.note(name)
    assert sorted(set(blobs.noted()) & set(names)) == sorted(names)
    blobs.delete(artifact)
    assert artifact not in {one.artifact for one in blobs.stored()}
    assert set(names) <= set(blobs.noted())


def test_it_says_when_the_newest_came(blobs: Blobs, artifact: str) -> None:
    before = SystemClock().now() - 2_000_000
    whole(blobs, artifact, CONTENT)
    (stored,) = blobs.stored()
    assert before <= stored.newest_at <= SystemClock().now() + 2_000_000


def test_many_at_once(blobs: Blobs, artifact: str) -> None:
    contents = {number: noise(50_000, number) for number in range(16)}
    threads = [
        threading.Thread(target=whole, args=(blobs, artifact, content, number))
        for number, content in contents.items()
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blobs.have(artifact) == {number: sha256(content).hexdigest() for number, content in contents.items()}
    assert blobs.parts(artifact) == {}


# the folder


def test_a_chunk_is_gone_on_with_in_many_pieces(folder: Blobs, artifact: str) -> None:
    for start in range(0, len(CONTENT), 100_000):
        piece = CONTENT[start : start + 100_000]
        assert put(folder, artifact, BytesIO(piece), start=start, length=len(piece)) == start + len(piece)
    assert read(folder, artifact) == CONTENT


def test_the_longest_part_counts(folder: Blobs, artifact: str, tmp_path: Path) -> None:
    put(folder, artifact, Cut(CONTENT, 200_000))
    put(folder, artifact, Cut(CONTENT, 100_000))
    assert folder.parts(artifact) == {0: 200_000}
    put(folder, artifact, Cut(CONTENT, 300_000))
    assert folder.parts(artifact) == {0: 300_000}
    assert len(files(tmp_path)) == 1


def test_a_part_whose_end_is_wrong_begins_anew(folder: Blobs, artifact: str) -> None:
    put(folder, artifact, Cut(b"x" + CONTENT[1:], 200_000))
    with pytest.raises(DigestMismatch):
        put(folder, artifact, BytesIO(CONTENT[200_000:]), start=200_000)
    assert folder.parts(artifact) == {}
    assert put(folder, artifact, BytesIO(CONTENT)) == len(CONTENT)


def test_a_connection_that_wakes_late_does_no_harm(folder: Blobs, artifact: str) -> None:
    class Late:
        """Half of the chunk; then the other half, once the chunk was put by somebody else."""

        def __init__(self) -> None:
            self.parts = iter([CONTENT[:200_000], b"rubbish" + CONTENT[200_007:]])
            self.woken = False

        def read(self, _: int) -> bytes:
            block = next(self.parts, b"")
            if block.startswith(b"rubbish"):
                there = folder.parts(artifact)[0]
                assert put(folder, artifact, BytesIO(CONTENT[there:]), start=there) == len(CONTENT)
                self.woken = True
            return block

    late = Late()
    with pytest.raises(DigestMismatch):
        put(folder, artifact, late)
    assert late.woken
    assert read(folder, artifact) == CONTENT
    assert folder.parts(artifact) == {}


def test_two_that_end_the_same_chunk_are_both_told_so(folder: Blobs, artifact: str) -> None:
    class Second:
        def __init__(self) -> None:
            self.rest = iter([CONTENT[:100], CONTENT[100:]])
            self.turns = 0

        def read(self, _: int) -> bytes:
            self.turns += 1
            if self.turns == 2:
                whole(folder, artifact, CONTENT)
            return next(self.rest, b"")

    assert put(folder, artifact, Second()) == len(CONTENT)
    assert read(folder, artifact) == CONTENT


def test_its_files_are_for_their_owner_only(folder: Blobs, artifact: str, tmp_path: Path) -> None:
    whole(folder, artifact, CONTENT)
    (tmp_path / artifact[:2]).chmod(0o700)
    assert (tmp_path / artifact[:2] / artifact).stat().st_mode & 0o077 == 0
    assert files(tmp_path) == [f"{artifact[:2]}/{artifact}/0-{CHUNK.sha256}"]


def test_what_is_not_ours_is_left_alone(folder: Blobs, artifact: str, tmp_path: Path) -> None:
    whole(folder, artifact, CONTENT)
    (tmp_path / "lost+found" / "x").mkdir(parents=True)
    (tmp_path / "note").touch()
    (tmp_path / artifact[:2] / artifact / "0-note").touch()
    assert [one.artifact for one in folder.stored()] == [artifact]
    assert folder.have(artifact) == {0: CHUNK.sha256}


KILLED = """
import os, signal, sys
from pathlib import Path
from fedyard.wire.chunks import Chunk
from tests.disk import small_disk
from tests.blobs import folder_blobs

class Killing:
    def __init__(self, content, after):
        self.content, self.at, self.after = content, 0, after
    def read(self, size):
        if self.at >= self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        block = self.content[self.at : self.at + size]
        self.at += len(block)
        return block

root, artifact, sha256, after = sys.argv[1:]
content = Path(root, "content").read_bytes()
folder_blobs(Path(root, "blobs")).put(
    artifact, Chunk(0, sha256, len(content)), Killing(content, int(after)), start=0, length=len(content)
)
"""


@pytest.mark.parametrize("after", [1, BLOCK_BYTES, 2 * BLOCK_BYTES + 1])
def test_killed_in_the_middle_of_a_chunk(tmp_path: Path, artifact: str, after: int) -> None:
    (tmp_path / "content").write_bytes(CONTENT)
    arguments = [str(tmp_path), artifact, CHUNK.sha256, str(after)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    blobs = folder_blobs(tmp_path / "blobs")
    assert blobs.have(artifact) == {}
    there = blobs.parts(artifact)[0]
    assert there >= after
    assert put(blobs, artifact, BytesIO(CONTENT[there:]), start=there) == len(CONTENT)
    assert read(blobs, artifact) == CONTENT
    assert blobs.parts(artifact) == {}


def test_a_full_disk_keeps_nothing_half_stored(tmp_path: Path, artifact: str) -> None:
    with small_disk(tmp_path / "disk") as disk:
        blobs = folder_blobs(disk.place)
        whole(blobs, artifact, CONTENT[:500_000])
        disk.fill()
        kept, large = disk.files(), noise(900_000)
        with pytest.raises(StorageFull, match=f"(No space left on device|File too large): {disk.place}/parts/"):
            blobs.put(artifact, chunk(large, 1), BytesIO(large), start=0, length=len(large))
        assert disk.files() == kept
        assert blobs.parts(artifact) == {}
        whole(blobs, artifact, b"there is room for little ones", 2)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, artifact: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailable, match=f"File exists: {tmp_path}/file"):
        whole(folder_blobs(tmp_path / "file" / "below"), artifact, CONTENT)


def test_a_chunk_that_cannot_be_opened_is_named(tmp_path: Path, artifact: str) -> None:
    """A folder in its place, since root may read whatever its permissions are."""
    blobs = folder_blobs(tmp_path)
    path = tmp_path / artifact[:2] / artifact / f"{CHUNK.number}-{CHUNK.sha256}"
    path.mkdir(parents=True)
    with pytest.raises(StorageUnavailable, match=f"Is a directory: {path}"):
        list(blobs.read(artifact, CHUNK, 0, CHUNK.size_bytes))


def test_the_hubs_own_disk_on_the_way_to_a_bucket_is_named(artifact: str, tmp_path: Path) -> None:
    """A limit on the size of files is no full disk, but is told in the same way."""
    bucket = open_blobs("s3://absent?endpoint=http://127.0.0.1:9", SystemClock())
    with small_disk(tmp_path / "disk"):
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        with pytest.raises(StorageFull, match="the temporary folder of the hub: File too large: /"):
            whole(bucket, artifact, CONTENT)


def test_a_folder_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below = folder_blobs(tmp_path / "file" / "below")
    assert below.ready() == f"the folder of artifacts cannot be written: {tmp_path}/file"
    full = FolderBlobs(tmp_path, free_bytes=2**60)
    assert full.ready() == f"the folder of artifacts has less than 1099511627776 MiB left: {tmp_path}"
    later = folder_blobs(tmp_path / "not" / "yet")
    assert later.ready() is None
    assert not (tmp_path / "not").exists()


# S3


@pytest.fixture
def bucket(seaweed: PrivateSeaweed) -> Blobs:
    return open_blobs(s3_url(seaweed, presign=True), SystemClock())


def ask(url: str, content: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=content, method="GET" if content is None else "PUT", headers=named)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


SUM = b64encode(bytes.fromhex(CHUNK.sha256)).decode()


def test_a_presigned_address_takes_the_declared_bytes_and_no_others(bucket: Blobs, artifact: str) -> None:
    (url,) = (bucket.uploads(artifact, [CHUNK]) or {}).values()
    other = b64encode(sha256(b"other").digest()).decode()
    assert ask(url, b"x" + CONTENT[1:], x_amz_checksum_sha256=SUM)[0] == 400
    assert ask(url, b"other", x_amz_checksum_sha256=other)[0] == 403
    assert ask(url, b"other")[0] == 403
    assert bucket.have(artifact) == {}
    assert ask(url, CONTENT, x_amz_checksum_sha256=SUM)[0] == 200
    assert bucket.have(artifact) == {0: CHUNK.sha256}


def test_a_presigned_address_hands_a_chunk_out(bucket: Blobs, artifact: str) -> None:
    whole(bucket, artifact, CONTENT)
    (url,) = (bucket.downloads(artifact, [CHUNK]) or {}).values()
    assert ask(url) == (200, CONTENT)
    assert ask(url, Range="bytes=5-8") == (206, CONTENT[5:9])
    assert ask(url.split("?")[0])[0] == 403


def test_there_are_no_addresses_unless_the_operator_allows(blobs: Blobs, artifact: str) -> None:
    assert blobs.uploads(artifact, [CHUNK]) is None
    assert blobs.downloads(artifact, [CHUNK]) is None


def test_a_bucket_that_is_not_there_is_told(seaweed: PrivateSeaweed, artifact: str) -> None:
    absent = open_blobs(f"s3://absent?endpoint={seaweed.endpoint}", SystemClock())
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        absent.have(artifact)
    assert absent.ready() == "the bucket of artifacts: NoSuchBucket"
    nobody = open_blobs("s3://absent?endpoint=http://127.0.0.1:9", SystemClock())
    with pytest.raises(StorageUnavailable, match=r"EndpointConnectionError \(.*127.0.0.1:9"):
        nobody.have(artifact)
    assert "EndpointConnectionError (Could not connect" in (nobody.ready() or "")


@pytest.mark.parametrize("url", ["ftp://x", "s3:///x", "s3://b?presign=1&presign=1", "s3://b?color=red", "file:///"])
def test_odd_addresses_are_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        open_blobs(url, SystemClock())


def test_boto3_is_loaded_for_a_bucket_only(tmp_path: Path) -> None:
    script = f"""
import sys
from config.clock import SystemClock
from storage.blobs.opening import open_blobs
open_blobs("file:///{tmp_path}", SystemClock())
sys.exit("boto3" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, timeout=60).returncode == 0
