"""The reconciler: compares what is wanted with what each cluster shows, and sends what follows.

Level-triggered: every few seconds it looks at all of it, whatever happened before; what a cluster watches, and what the
hub decides, only wakes it. A thread for each cluster, so that one that is away holds up no other.

What that is says fedyard/cluster/plan.py. It decides nothing and touches nothing: what shall be done goes to the doer,
what was found to the decider. Several processes may run, the one that holds the lock acts, and the ids of what it sends
derive from what it is about and from the span of time, so that two at once do no harm either.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import msgspec

from broker.port import BrokerUnavailable, Publisher
from config.clock import Clock
from config.faults import fault
from config.logs import unit
from config.outages import Outage
from domain import codec
from domain import commands as c
from domain.commands import AnyCommand, Envelope
from domain.ids import Id, derive, sha256_hex
from domain.streams.door import unsaid
from domain.workloads import report_of
from fedyard.cluster.doing import read_on
from fedyard.cluster.plan import Action, Collect, End, Ensure, Finding, Introduce, Key, Memory, plan
from fedyard.cluster.port import ClusterError, Unavailable
from fedyard.wire.times import SECOND
from k8s.clusters import Clusters, HubCluster
from storage.database import DatabaseUnavailable
from storage.wanted import WantedWorkloads

SAID_AGAIN_S = 15.0
"""So long what was sent is not sent again: it is on its way, or was done and cannot be seen yet."""
RENEW_EVERY_S = 60.0
"""How often services are made as they are wanted although they look so, and places are looked for that may go where
nothing has happened that one might follow from."""
MAX_AT_ONCE = 500
"""Sent in one turn; the next one comes at once if there is more."""
READ_EVERY_S = 1.0
"""How often logs are read that somebody follows."""
UNFOLLOWED_S = 30.0
"""How often it is looked whether somebody does, although nothing has said so."""
LISTENS_S = 2.0
"""How long a cluster is asked to wait for news. If it takes all of it there were none."""
LONG_S, MAX_REST_S = 0.1, 2.0
"""After a look that took longer than that the next one waits for as long as it took, and no longer than this: while
much changes, half of the cluster's time is left for what is done there."""
PAUSE_S = 0.05
"""Between two looks for the cluster's news: much at once is one turn."""

_log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder(order="deterministic")


class ClusterReconciler:
    """Of one cluster. Its turns follow one another in one thread."""

    def __init__(self, place: HubCluster, wanted: WantedWorkloads, publisher: Publisher, clock: Clock) -> None:
        self._place = place
        self._wanted = wanted
        self._publisher = publisher
        self._clock = clock
        self._memory = Memory()
        self._said: dict[str, float] = {}
        self._renewed = float("-inf")
        self._stirred = False
        """The turn before had something to send: what follows from that may be that a place can go."""
        self._permitted = False
        self._away = Outage(
            _log, f"cluster {place.name} is not looked after", f"cluster {place.name} is looked after again", clock
        )
        self._rests_until = float("-inf")
        self.trouble = ""
        """What is wrong with the cluster, for people."""

    def turn(self) -> int:
        """Look once and send what follows; how many commands. Raises nothing: the next turn looks again, but of a
        cluster that has said when it is to be asked again only then, whoever wakes us before."""
        if self._clock.monotonic() < self._rests_until:
            return 0
        try:
            sent = self._turn()
        except (ClusterError, BrokerUnavailable, DatabaseUnavailable) as error:
            if isinstance(error, Unavailable) and error.after_s is not None:
                self._rests_until = self._clock.monotonic() + error.after_s
            self.trouble = error.fact if isinstance(error, ClusterError) else str(error)
            self._away.lasts(error)
            return 0
        self.trouble = ""
        self._away.over()
        return sent

    def _turn(self) -> int:
        self._check_permissions()
        wanted = self._wanted.of_cluster(self._place.name, self._clock.now())
        seen = self._place.cluster.observe(self._wanted.owner)
        strange = {Key(one.id, one.attempt) for one in seen} - {one.key for one in wanted}
        known = self._wanted.known(self._place.name, {key.id for key in strange})
        wanted += [one for one in known if one.key in strange]
        monotonic = self._clock.monotonic()
        renew = monotonic >= self._renewed + RENEW_EVERY_S
        made = plan(self._wanted.owner, wanted, seen, self._clock.now() / SECOND, memory=self._memory, renew=renew)
        self._memory = made.memory
        if renew:
            self._renewed = monotonic
        self._said = {said: at for said, at in self._said.items() if monotonic < at + SAID_AGAIN_S}
        fresh: dict[str, AnyCommand] = {}
        look = renew or self._stirred
        ending = self._wanted.places_to_end(self._place.name, self._clock.now()) if look else []
        for what in (*made.findings, *made.actions, *map(self._end_place, ending)):
            said = sha256_hex(type(what).__name__.encode() + _encoder.encode(what))
            if said not in self._said and len(fresh) < MAX_AT_ONCE:
                fresh[said] = what if isinstance(what, c.EndPlace) else self._command(what)
        self._stirred = bool(fresh or ending)
        if fresh:
            span = self._clock.now() // int(SAID_AGAIN_S * SECOND)
            self._publisher.send([self._envelope(command, said, span) for said, command in fresh.items()])
            self._said |= dict.fromkeys(fresh, monotonic)
            _log.info("reconciled", extra=unit(cluster=self._place.name, count=len(fresh)))
        return len(fresh)

    def read_logs(self) -> int:
        """Send what the logs have that somebody follows, and the hub has not; how many there are. Raises nothing.

        What was sent and is not decided yet is sent again by the next turn, and changes nothing then.
        """
        try:
            followed = self._wanted.followed(self._place.name, self._clock.now())
            pieces = [
                c.WriteWorkloadLog(workload_id=which.id, attempt=which.attempt, start=start, body=unsaid(body))
                for which, log_from in followed
                for start, body in read_on(self._place.cluster, which, log_from)
            ]
            if pieces:
                span = self._clock.now() // int(READ_EVERY_S * SECOND)
                self._publisher.send([self._envelope(one, sha256_hex(_encoder.encode(one)), span) for one in pieces])
        except (BrokerUnavailable, DatabaseUnavailable):
            return 0
        return len(followed)

    def _check_permissions(self) -> None:
        """Before anything else, and until all are there: what is missing is said by name."""
        if self._permitted:
            return
        missing = self._place.cluster.missing()
        if missing:
            raise ClusterError(f"the hub may not {'; nor '.join(missing[:10])}: grant it what k8s/deploy lists")
        self._permitted = True

    def _end_place(self, project: Id) -> c.EndPlace:
        return c.EndPlace(cluster=self._place.name, owner=self._wanted.owner, place=project)

    def _command(self, what: Finding | Action) -> AnyCommand:
        name = self._place.name
        match what:
            case Finding():
                return report_of(what)
            case Introduce(finding):
                return report_of(finding, token_sha256=self._wanted.token_sha256(finding.id, finding.attempt))
            case Ensure(spec, enrols, secret_names):
                return c.EnsureWorkload(cluster=name, spec=spec, enrols=enrols, secret_names=secret_names)
            case Collect(which, finding, log_from):
                return c.CollectWorkload(cluster=name, which=which, finding=finding, log_from=log_from)
            case End(which, grace_s):
                return c.EndWorkload(cluster=name, which=which, grace_s=grace_s)

    def _envelope(self, command: AnyCommand, said: str, span: int) -> Envelope:
        kind = str(type(command).__struct_config__.tag)
        return codec.envelope_of(
            command, id=derive(kind, self._place.name, said, span), by=codec.THE_HUB, at=self._clock.now()
        )


class Reconciler:
    """All clusters of the settings, each in a thread of its own while this process leads."""

    def __init__(
        self,
        clusters: Clusters,
        wanted: WantedWorkloads,
        publisher: Publisher,
        clock: Clock,
        *,
        every_s: float,
        may_lead: Callable[[], bool] = lambda: True,
    ) -> None:
        self._wanted = wanted
        self._clock = clock
        self._every_s = every_s
        self._may_lead = may_lead
        self._stop = threading.Event()
        self._leading = threading.Event()
        self._of = {name: ClusterReconciler(place, wanted, publisher, clock) for name, place in clusters.items()}
        self._bells = {name: threading.Event() for name in clusters}
        self._readers = {name: threading.Event() for name in clusters}
        self._clusters = clusters
        self._lookers: list[threading.Thread] = []
        self._waits = Outage(_log, "no workload is looked after", "workloads are looked after again", clock)

    def start(self) -> None:
        """For each a thread that looks, one that reads logs while somebody follows them, and one that waits for the
        cluster's news."""
        for name in self._of:
            looks = threading.Thread(target=self._look, args=(name,), name=f"fedyard-looks-{name}", daemon=True)
            listens = threading.Thread(target=self._listen, args=(name,), name=f"fedyard-listens-{name}", daemon=True)
            reads = threading.Thread(target=self._read, args=(name,), name=f"fedyard-reads-{name}", daemon=True)
            for each in (looks, reads, listens):
                each.start()
            self._lookers += [looks, reads]

    def lead(self) -> None:
        """Lead, or see whether one may; called every now and then by one thread, which the lock belongs to."""
        try:
            leads = self._may_lead() and self._wanted.lead()
        except DatabaseUnavailable as error:
            self._waits.lasts(error)
            self._wanted.step_down()
            leads = False
        else:
            self._waits.over()
        if leads and not self._leading.is_set():
            _log.info("leads", extra=unit(clusters=sorted(self._of)))
            self._leading.set()
            self.wake()
        elif not leads:
            self._leading.clear()

    def wake(self) -> None:
        """Something that concerns workloads was decided."""
        for bell in (*self._bells.values(), *self._readers.values()):
            bell.set()

    def troubles(self) -> dict[str, str]:
        """What is wrong, by cluster; empty: nothing. None at all while another process leads."""
        return {name: each.trouble for name, each in self._of.items()} if self._leading.is_set() else {}

    def stop(self, within_s: float) -> None:
        """Returns when all that looks has ended, or is left to itself: a cluster's call ends within its time-out."""
        self._stop.set()
        self.wake()
        until = self._clock.monotonic() + within_s
        for thread in self._lookers:
            thread.join(timeout=max(0.0, until - self._clock.monotonic()))
        self._wanted.step_down()

    def _look(self, name: str) -> None:
        bell = self._bells[name]
        while not self._stop.is_set():
            bell.wait(self._every_s)
            bell.clear()
            if not self._leading.is_set() or self._stop.is_set():
                continue
            began = self._clock.monotonic()
            try:
                if self._of[name].turn() >= MAX_AT_ONCE:
                    bell.set()
                took_s = self._clock.monotonic() - began
                if took_s > LONG_S:
                    self._stop.wait(min(MAX_REST_S, took_s))
            except Exception as error:  # noqa: BLE001 - our bug, of which the next turn is tried all the same
                _log.error("a turn failed", extra=unit(cluster=name, **fault(error)))

    def _read(self, name: str) -> None:
        bell = self._readers[name]
        while not self._stop.is_set():
            bell.wait(UNFOLLOWED_S)
            bell.clear()
            try:
                while self._leading.is_set() and not self._stop.is_set() and self._of[name].read_logs():
                    self._stop.wait(READ_EVERY_S)
            except Exception as error:  # noqa: BLE001 - our bug, which must not end the thread
                _log.error("logs not read", extra=unit(cluster=name, **fault(error)))
                self._stop.wait(READ_EVERY_S)

    def _listen(self, name: str) -> None:
        while not self._stop.is_set():
            if not self._leading.wait(self._every_s):
                continue
            began = self._clock.monotonic()
            try:
                self._clusters[name].cluster.wait(LISTENS_S)
            except ClusterError:
                self._stop.wait(self._every_s)
                continue
            if self._clock.monotonic() - began < LISTENS_S * 0.9:
                self._bells[name].set()
                self._stop.wait(PAUSE_S)
