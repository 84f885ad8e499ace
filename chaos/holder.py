"""`python -m chaos.holder FOLDER`: holds a seat of a run in the kill tests, plainly, until it is told to end.

It enrols with the one-time token that it finds in its environment, says that it is ready, submits when a round starts,
and ends with 1 when the hub knows it no more. In FOLDER it writes down when it began, as program.sh does.
"""

from __future__ import annotations

import base64
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.clock import SystemClock, draw_secret
from domain.ids import sha256_hex
from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unavailable
from fedyard.cluster.conventions import ENROLMENT_TOKEN, HUB_URL, WORKLOAD_ATTEMPT, WORKLOAD_ID
from fedyard.sealed.keys import enrolment_proof

POLL_S = 10
BEAT_EVERY_S = 5.0
CLOCK = SystemClock()


class Holder:
    """site: what the hub calls it."""

    def __init__(self, hub: str, enrolment: str) -> None:
        token = draw_secret()
        self.site = self._enrolled(hub, enrolment, token)
        self._client = Client(hub, token)
        self._reports: dict[tuple[str, int], int] = {}
        self._after = 0

    def follow(self) -> None:
        """One look at its inbox. Raises `Refused` if it is nobody any more."""
        with suppress(Unavailable):
            self._client.heartbeat(self.site)
            for entry in self._client.inbox(after=self._after, wait=int(BEAT_EVERY_S)).items:
                with suppress(Unavailable):
                    self._step(entry)
                    self._after = entry.seq
                    self._client.acknowledge(entry.seq)

    def _step(self, entry: Any) -> None:
        """What comes late, or again, the hub refuses."""
        if entry.kind not in ("invited", "round_started"):
            return
        seat = (str(entry.run_id), int(entry.task_seq))
        if entry.kind == "invited":
            self._reports[seat] = int(entry.facts["report_seq"])
        said: dict[str, object] = {"event": "ready"}
        if entry.kind == "round_started":
            update = f"update of {self.site} in round {entry.round} of {seat[0]}".encode()
            said = {"event": "submit", "update": base64.b64encode(update).decode(), "metrics": {"samples": 10.0}}
        seq = self._reports.get(seat, 0) + 1
        body = msgspec.json.encode(said | {"seq": seq, "round": entry.round})
        try:
            self._client.report(*seat, self.site, body, key=f"{seat[0]}-{seat[1]}-{seq}-{said['event']}")
        except Refused as error:
            if error.token_unknown:
                raise
        else:
            self._reports[seat] = seq

    @staticmethod
    def _enrolled(hub: str, enrolment: str, token: str) -> str:
        identity, hashed = Ed25519PrivateKey.generate(), sha256_hex(token.encode())
        key = base64.b64encode(identity.public_key().public_bytes_raw()).decode()
        proof = base64.b64encode(enrolment_proof(identity, enrolment, hashed, "holder")).decode()
        while True:
            with suppress(Unavailable):
                return Client(hub, enrolment).enrol("holder", key, proof, hashed, "", key="enrol").id


def main(folder: Path) -> int:
    """Until a signal ends it, or the hub does not know it any more."""
    name = f"{os.environ[WORKLOAD_ID]}-{os.environ[WORKLOAD_ATTEMPT]}"
    with (folder / name).open("a") as books:
        books.write(f"began {CLOCK.now() * 1000} {os.getpid()}\n")
    try:
        holder = Holder(os.environ[HUB_URL], os.environ[ENROLMENT_TOKEN])
        while True:
            holder.follow()
    except Refused as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
