"""One site's calls, each repeated under its key until the hub has answered; every promise goes into the ledger."""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from chaos.ledger import Answered, Asked, Ledger
from config.clock import Clock, wait_for
from domain.ids import derive

WAIT_S = 10
ANSWER_WITHIN_S = 15.0
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.5)
"""The last one is repeated."""
GIVE_UP_S = 240.0
AGAIN = frozenset({0, 408, 425, 429, 500, 502, 503, 504})


class Gone(Exception):
    """The load ends before the hub has answered."""


@dataclass(frozen=True)
class Answer:
    """status 0: none came."""

    status: int
    content: bytes
    headers: Mapping[str, str]

    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.content, type=dict[str, object])


class Counts:
    """What all callers of the process count together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.statuses: Counter[int] = Counter()
        self.messages = self.entries = 0

    def answered(self, status: int) -> None:
        with self._lock:
            self.statuses[status] += 1

    def message(self) -> None:
        with self._lock:
            self.messages += 1

    def entry(self) -> None:
        with self._lock:
            self.entries += 1


class Caller:
    """A connection of one thread. ended: the load is over, nothing is tried any more."""

    def __init__(self, hub: str, subject: str, token: str, *, counts: Counts, ended: threading.Event) -> None:
        parts = urlsplit(hub)
        self._place = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None
        self._counts = counts
        self.ended = ended
        self.subject = subject

    def once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], wait_s: float) -> Answer:
        """One try; an answer with status 0 if none came."""
        answer = self._tried(method, path, body, headers, wait_s)
        self._counts.answered(answer.status)
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _tried(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], wait_s: float) -> Answer:
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(*self._place, timeout=wait_s + ANSWER_WITHIN_S)
            self._connection.request(method, path, body, {**self._headers, **headers})
            response = self._connection.getresponse()
            return Answer(response.status, response.read(), dict(response.headers))
        except (OSError, http.client.HTTPException):
            self.close()
            return Answer(0, b"", {})


class Commander:
    """Sends commands: asks once or a hundred times under one key, and writes down what came of it."""

    def __init__(self, caller: Caller, ledger: Ledger, clock: Clock, chance: random.Random) -> None:
        self._caller = caller
        self._ledger = ledger
        self._clock = clock
        self._chance = chance

    def id_of(self, key: str) -> str:
        """The id of the command that the hub makes of this key."""
        return derive(self._caller.subject, "key", key)

    def send(
        self,
        method: str,
        path: str,
        body: bytes,
        key: str,
        asked: Asked,
        *,
        made: str = "",
        decided: bool = True,
        again: bool = False,
    ) -> tuple[Answered, Answer]:
        """The answer, once there is one that says something. Raises `Gone`.

        made: the field of the result that names what was made. decided: wait for the decision, not for the 202 only.
        again: it was sent and answered before, by a hub that may have forgotten it.
        """
        if not again:
            self._ledger.write(asked)
        headers = {"Idempotency-Key": key} | ({"Prefer": f"wait={WAIT_S}"} if decided else {})
        end = self._clock.monotonic() + GIVE_UP_S
        tries = 0
        while True:
            answer = self._caller.once(method, path, body, headers, WAIT_S if decided else 0)
            tries += 1
            if answer.status not in AGAIN and not (decided and answer.status == 202):
                break
            if self._clock.monotonic() > end or self._caller.ended.is_set():
                raise Gone
            pause = PAUSES_S[min(tries, len(PAUSES_S)) - 1]
            wait_for(self._caller.ended, pause * self._chance.uniform(0.7, 1.3))
        answered = self._answered(answer, asked, made, tries)
        self._ledger.write(answered)
        return answered, answer

    def _answered(self, answer: Answer, asked: Asked, made: str, tries: int) -> Answered:
        content = answer.json() if answer.content else {}
        found = content.get(made) if answer.status < 300 else None
        return Answered(
            at=self._clock.now(),
            id=asked.id,
            status=answer.status,
            decided=answer.status != 202,
            made=[str(one) for one in found] if isinstance(found, list) else [str(found)] if found else [],
            slug=str(content.get("type", "")).rpartition("/")[-1] if answer.status >= 400 else "",
            tries=tries,
        )
