"""Payloads of any size to the hub and back: in chunks, resumed where they ended, checked to the last byte.

Both ways may be repeated after whatever happened, a restart of this process and days in between included, and go on
with what is there: the hub says which chunks it has, a file says what has come. upload.py and download.py do the work.
"""

from __future__ import annotations

from pathlib import Path

from fedyard.client.client import Client
from fedyard.client.download import MAX_BYTES, Damaged, Download
from fedyard.client.upload import Content, Unreadable, Upload

__all__ = ["Damaged", "Transfer", "Unreadable"]

IN_FLIGHT = 3
"""Chunks on their way at the same time."""


class Transfer:
    """Safe to use from many threads. in_flight: chunks of one upload that are on their way at once.

    sent_bytes, read_bytes: what went over the network as payload, also in vain.
    """

    def __init__(self, client: Client, *, in_flight: int = IN_FLIGHT) -> None:
        self._client = client
        self._in_flight = in_flight
        self.sent_bytes = 0
        self.read_bytes = 0

    def upload(
        self,
        source: Path | bytes,
        *,
        project_id: str,
        kind: str,
        key: str,
        run_id: str | None = None,
        task_seq: int | None = None,
        round: int | None = None,
        seal: bytes | None = None,
        ttl_s: float | None = None,
        archive: bool | None = None,
    ) -> str:
        """The id of the artifact, which is stored then. The same `key` goes on with the same artifact.

        archive: initial files that the hub is to read and check.

        Raises `Refused`, and `Unavailable` when nothing got through for the client's `give_up_s`: then try again.
        `Unreadable` if the file changed while it was sent.
        """
        place: dict[str, object] = {"project_id": project_id, "kind": kind, "run_id": run_id}
        place |= {"task_seq": task_seq, "round": round} | ({} if archive is None else {"archive": archive})
        with Content(source) as content:
            upload = Upload(self._client, content, {**place, "seal": seal, "ttl_s": ttl_s}, self._in_flight)
            try:
                return upload.run(key)
            finally:
                self.sent_bytes += upload.sent_bytes

    def download(self, artifact_id: str, path: Path, *, digest: str | None = None, at_most: int = MAX_BYTES) -> None:
        """`path` is there, private, once all of it has come and fits the artifact's digest (and `digest`, if given).

        More than `at_most` bytes are not begun with.

        Until then what has come lies beside it, as `.<name>.part`. Raises as `upload` does, and `Damaged`.
        """
        download = Download(self._client, artifact_id, path)
        try:
            download.run(digest, at_most)
        finally:
            self.read_bytes += download.read_bytes
