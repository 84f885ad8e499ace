"""The lean lane: a write-behind buffer of heartbeats and token uses, sent as one command every quarter of a second.

Nothing waits for it and losing it is harmless: the next call of a site counts as its next beat.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator

from broker.port import BrokerUnavailable, Publisher
from config.clock import Clock, draw_id, wait_for
from domain.codec import THE_HUB, envelope_of
from domain.commands import AgentVersion, Beat, RecordHeartbeats, TokenUse
from domain.ids import Id
from domain.values import Micros
from storage.views.people import Bearer

log = logging.getLogger(__name__)

COLLECT_S = 0.25
PACK = 2_000
_AGENT = re.compile(r"fedyard/([0-9A-Za-z][0-9A-Za-z.+-]{0,39})")


class HeartbeatBuffer:
    """The write-behind buffer: it collects from many threads, and one thread of its own sends."""

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[Id, tuple[Micros, int]] = {}
        self._used: dict[Id, Micros] = {}
        self._agents: dict[Id, str] = {}
        self._versions: dict[Id, tuple[str, Micros]] = {}
        self._stirred = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)
        self.lost = 0
        """Packs that the broker did not take."""

    def start(self) -> None:
        self._thread.start()

    def note(self, caller: Bearer, handed_out: int = 0, agent: str | None = None) -> None:
        """The caller was heard of just now; its inbox was handed out up to `handed_out`.

        agent: the User-Agent that it sent. Only one that is another than before is told on.
        """
        now = self._clock.now()
        subject = caller.subject
        with self._lock:
            if subject.kind == "site" and caller.as_site:
                if agent is not None and self._agents.get(subject.id) != agent:
                    self._agents[subject.id] = agent
                    if (version := _version_in(agent)) is not None:
                        self._versions[subject.id] = (version, now)
                _, before = self._seen.get(subject.id, (now, 0))
                self._seen[subject.id] = (now, max(before, handed_out))
            if caller.token_id is not None:
                self._used[caller.token_id] = now
        self._stirred.set()

    def flush(self) -> None:
        """Send what was collected."""
        with self._lock:
            seen, self._seen = self._seen, {}
            used, self._used = self._used, {}
            versions, self._versions = self._versions, {}
        now = self._clock.now()
        for pack in _packs(seen, used, versions):
            try:
                self._publisher.send([envelope_of(pack, id=draw_id(), by=THE_HUB, at=now)])
            except BrokerUnavailable:
                self._lose()
            except Exception:  # a bug must not end the thread: all sites would fall silent
                self._lose()
                log.exception("heartbeats lost")

    def _lose(self) -> None:
        """The next beat of a site is told anyway; its agent's version only once it is news again."""
        self.lost += 1
        with self._lock:
            self._agents.clear()

    def close(self) -> None:
        """Send what is left and stop."""
        self._stopping.set()
        self._stirred.set()
        if self._thread.is_alive():
            self._thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._stirred.wait()
            wait_for(self._stopping, COLLECT_S)
            self._stirred.clear()
            self.flush()


def _version_in(agent: str) -> str | None:
    """The version that our own client says: what else calls itself names no version of an agent."""
    found = _AGENT.fullmatch(agent)
    return None if found is None else found[1]


def _packs(
    seen: dict[Id, tuple[Micros, int]], used: dict[Id, Micros], versions: dict[Id, tuple[str, Micros]]
) -> Iterator[RecordHeartbeats]:
    beats = [Beat(site_id=site, seen_at=at, handed_out=handed_out) for site, (at, handed_out) in seen.items()]
    uses = [TokenUse(token_id=token, used_at=at) for token, at in used.items()]
    said = [AgentVersion(site_id=site, version=version, at=at) for site, (version, at) in versions.items()]
    for start in range(0, max(len(beats), len(uses), len(said)), PACK):
        end = start + PACK
        yield RecordHeartbeats(beats=beats[start:end], token_uses=uses[start:end], versions=said[start:end])
