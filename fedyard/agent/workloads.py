"""What the hub wants to have run at this site, and what the site's cluster shows of it: reconciled here.

As at the hub (actors/reconciling.py) what follows says fedyard/cluster/plan.py, again and again for all of it. Here the
same thread does it: it asks the hub what is wanted, looks at the cluster, makes, collects and ends, and reports. An
entry `workload_wanted` in the inbox, and the cluster's news, wake it; otherwise it looks now and then.

While the hub is away nothing is begun. What ends is collected all the same, and removed once its evidence lies here.
Workloads outlive the agent; whoever is started next finds them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from fedyard.agent.cluster import ClusterSettings, open_cluster, refusal, secret_values
from fedyard.agent.consents import Consents
from fedyard.agent.fitting import as_it_is, held_back, with_reasons
from fedyard.agent.flags import Flags
from fedyard.agent.places import Places
from fedyard.agent.reports import Reports
from fedyard.agent.spool import Left, Spool
from fedyard.agent.wanted import Asked, ask
from fedyard.client.client import Client
from fedyard.client.errors import Refused as HubRefused
from fedyard.client.errors import Unavailable as HubAway
from fedyard.clock import Clock, jitter, micros_now
from fedyard.cluster.conventions import ENROLMENT_TOKEN, HUB_URL
from fedyard.cluster.doing import MAX_DETAIL, MAX_EVENTS, collected, ended, ensured, refused
from fedyard.cluster.plan import (
    FINAL,
    Collect,
    End,
    Ensure,
    Finding,
    Introduce,
    Key,
    Memory,
    Plan,
    Wanted,
    finding_of,
    plan,
    said,
)
from fedyard.cluster.port import (
    AttemptId,
    Cluster,
    ClusterError,
    Evidence,
    Observed,
    Phase,
    Reason,
    Refused,
    Spec,
    Unavailable,
)
from fedyard.wire.backoff import Backoff
from fedyard.wire.times import SECOND

SLOW_S, IDLE_S = 30.0, 60.0
"""How often it looks although nothing has woken it: while something is wanted, and while nothing is."""
AGAIN_S, SOON_S = 0.2, 1.0
"""After something was reported, for more may be wanted then; while something is under way."""
RENEW_EVERY_S = 60.0
AWAY_PAUSES = Backoff(first=2.0, most=60.0)
"""Seconds between looks at a cluster, or questions to a hub, that does not answer."""
LISTENS_S, PAUSE_S = 2.0, 0.05
CONSENTS_EVERY_S = 2.0
EVIDENCE_BYTES = 65_536
"""Of a log's tail, as the hub takes it."""
END_WITHIN_S = 30.0
"""How long workloads may take to end that shall end with the agent."""
NOT_ALLOWED_GRACE_S = 10.0
"""At most, between being told to stop and being ended, of what may not run here any more."""
LOGS_STAY = "its log stays at this site: logs = false below [cluster] in its site.toml"


class Workloads:
    """Two threads use it: `run` looks and acts, `listen` waits for the cluster's news. opened: opens the cluster."""

    def __init__(
        self,
        site_id: str,
        folder: Path,
        settings: ClusterSettings | None,
        consents: Consents,
        client: Client,
        *,
        flags: Flags,
        clock: Clock,
        log: Callable[..., None],
        now: Callable[[], int] = micros_now,
        opened: Callable[[ClusterSettings, Path], Cluster] = open_cluster,
    ) -> None:
        self._site_id, self._folder, self._settings = site_id, folder, settings
        self._consents, self._client = consents, client
        self._flags, self._clock, self._log, self._now = flags, clock, log, now
        self._open = opened
        self._cluster: Cluster | None = None
        self._permitted = False
        self._turning = threading.Lock()
        self._watching = threading.Event()
        self._spool = Spool(folder)
        self._places = Places(site_id, client, clock, log)
        self._reports = Reports(client, clock, log)
        self._wanted: list[Wanted] | None = None
        self._asked_last = Asked()
        self._left: dict[Key, Left] | None = None
        self._memory = Memory()
        self._renewed = float("-inf")
        self._failures = {"hub": 0, "cluster": 0}

    # ------------------------------------------------------------ threads

    def run(self) -> None:
        """Look, and act, until the agent closes. Raises `Refused` (401) if the hub knows this site no more."""
        while not self._flags.closing.is_set():
            self._flags.wanted.clear()
            served = self._served()
            self._sleep(jitter(self.turn()), served)
            self._clock.wait(self._flags.closing, PAUSE_S)  # what comes at once is one turn

    def _sleep(self, seconds: float, served: frozenset[str]) -> None:
        """Until something wakes it, or people of this site leave a project while something may run for one."""
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0.001:
            if self._clock.wait(self._flags.wanted, min(left, CONSENTS_EVERY_S) if self._watching.is_set() else left):
                return
            if self._watching.is_set() and self._served() != served:
                return

    def _served(self) -> frozenset[str]:
        return frozenset(ident for ident, one in self._consents.all().items() if one.live)

    def listen(self) -> None:
        """Wake `run` when the cluster has news, as long as something of ours may be there."""
        while not self._flags.closing.is_set():
            if not self._clock.wait(self._watching, LISTENS_S) or (cluster := self._cluster) is None:
                continue
            began = self._clock.monotonic()
            try:
                cluster.wait(LISTENS_S)
            except ClusterError:
                self._clock.wait(self._flags.closing, LISTENS_S)
                continue
            if self._clock.monotonic() - began < LISTENS_S * 0.9:
                self._flags.wanted.set()
                self._clock.wait(self._flags.closing, PAUSE_S)

    def close(self, *, end: bool = False) -> None:
        """Let go of the cluster. end: of what runs there as well, for nobody will look after it any more."""
        with self._turning:
            stops = self._settings is not None and self._settings.stop_with_agent
            try:
                if (end or stops) and (cluster := self._opened()) is not None:
                    why = "this site's agent has stopped, and stop_with_agent is set in its site.toml"
                    self._end_all(cluster, "the hub knows this site no more" if end else why)
            except (ClusterError, OSError) as error:
                self._log("workloads not ended", detail=str(error))
            finally:
                if self._cluster is not None:
                    self._cluster.close()

    # ------------------------------------------------------------ one turn

    def turn(self) -> float:
        """Look once and do what follows; seconds until it is worth looking again."""
        with self._turning:
            if self._flags.closing.is_set():
                return IDLE_S
            self._reports.told = False
            self._spool.make()
            if self._wanted is None:
                self._wanted = self._spool.wanted()
            fresh = self._asked()
            try:
                for odd in self._asked_last.odd if fresh else []:
                    self._reports.tell(odd)
                cluster = self._opened()
                pause_s = self._refuse_all(fresh=fresh) if cluster is None else self._turn(cluster, fresh=fresh)
            except HubAway as error:
                fresh = self._fails("hub", str(error))
                pause_s = SLOW_S
            except (ClusterError, OSError) as error:
                fact = error.fact if isinstance(error, ClusterError) else error.strerror or str(error)
                self._fails("cluster", fact)
                self._tell_trouble(fact, fresh=fresh)
                after_s = error.after_s if isinstance(error, Unavailable) else None
                return after_s or AWAY_PAUSES.after(self._failures["cluster"])
            else:
                self._works("cluster")
            if not fresh:
                return AWAY_PAUSES.after(self._failures["hub"])
            return AGAIN_S if self._reports.told else pause_s

    def _asked(self) -> bool:
        """Ask the hub what is wanted; False if it does not say."""
        try:
            asked = ask(self._client, self._site_id, self._log)
        except HubAway as error:
            return self._fails("hub", str(error))
        except HubRefused as error:
            if error.token_unknown:
                raise
            return self._fails("hub", str(error))
        self._works("hub")
        self._asked_last, self._wanted = asked, asked.wanted
        self._spool.note(asked.wanted)
        return True

    def _refuse_all(self, *, fresh: bool) -> float:
        """Without a cluster. Of what was there before nobody can say that it is gone."""
        for one in self._wanted or []:
            why = refusal(self._settings, self._consents, one.spec)
            if fresh and why is not None and one.run and one.known.phase not in FINAL:
                self._reports.tell(refused(one.spec, why))
            elif fresh and not one.known.uid:
                self._reports.tell(msgspec.structs.replace(one.known, gone=True))
        return IDLE_S

    def _turn(self, cluster: Cluster, *, fresh: bool) -> float:
        assert self._settings is not None, "there is a cluster"
        self._check_permissions(cluster)
        wanted = self._with_left(fresh=fresh)
        whole = cluster.observe(self._site_id)
        seen = self._concerned(whole, wanted, fresh=fresh)
        there = {Key(one.id, one.attempt): one for one in seen}
        if wanted or there:
            self._watching.set()
        else:
            self._watching.clear()
        barred = {one.key: why for one in wanted if (why := self._why_not(one)) is not None}
        now_s = self._now() / SECOND
        held = held_back(self._settings, wanted, barred, there, now_s)
        # what must not run is not made, and goes if it is there; what finds no room to grow stays as it is
        admitted = [
            msgspec.structs.replace(one, run=False)
            if one.key in barred
            else as_it_is(one, there[one.key])
            if one.key in held
            else one
            for one in wanted
            if one.key in there or not (one.key in held or one.key in barred)
        ]
        monotonic = self._clock.monotonic()
        renew = monotonic >= self._renewed + RENEW_EVERY_S
        made = plan(self._site_id, admitted, seen, now_s, memory=self._memory, renew=renew)
        self._memory = made.memory
        if renew:
            self._renewed = monotonic
        refusals = [
            finding
            for one in wanted
            if (why := held.get(one.key) or barred.get(one.key)) is not None and one.key not in there
            if (finding := refused(one.spec, why)) != one.known
        ]
        made = with_reasons(made, wanted, {key: why for key, why in held.items() if key in there}, there)
        self._do(cluster, made, refusals, barred, fresh=fresh)
        if fresh and not self._settings.keep_places and self._asked_last.whole:
            self._places.look(cluster, {one.spec.place for one in wanted} | {one.place for one in whole})
        followed = [one for one in wanted if one.followed and fresh and self._gives_logs]
        for one in followed:
            if one.key in there and one.log_from is not None:
                self._reports.tell_log(cluster, one.spec.attempt_id, one.log_from)
        if made.actions or made.memory.missing or followed:
            return SOON_S
        waits = [one.not_before_s - now_s for one in wanted if one.run and one.not_before_s > now_s]
        return max(AGAIN_S, min([SLOW_S if wanted or there else IDLE_S, *waits]))

    def _check_permissions(self, cluster: Cluster) -> None:
        if not self._permitted:
            lacking = cluster.missing()
            if lacking:
                raise Unavailable(f"the agent may not {'; nor '.join(lacking[:10])}: have it allowed", after_s=60.0)
            self._permitted = True

    def _concerned(self, seen: list[Observed], wanted: list[Wanted], *, fresh: bool) -> list[Observed]:
        """What may be acted on. Of what is in nobody's list that is said only by a whole and fresh one."""
        known = {one.key for one in wanted}
        if fresh and self._asked_last.whole:
            return [one for one in seen if Key(one.id, one.attempt) not in self._asked_last.strange]
        return [one for one in seen if Key(one.id, one.attempt) in known]

    def _with_left(self, *, fresh: bool) -> list[Wanted]:
        """What is wanted, with what lies here of what ended: sent to the hub until it has that on record."""
        if self._left is None:
            self._left = self._spool.left()
        wanted = []
        for one in self._wanted or []:
            left = self._left.get(one.key)
            if left is not None and one.kept:
                self._forget(one.key)
            elif left is not None:
                if fresh and not left.refused:
                    left = self._offer(left)
                known = one.known if one.known.phase in FINAL else left.finding
                one = msgspec.structs.replace(one, known=known, kept=True)  # noqa: PLW2901 - the same, as it is known here
            wanted.append(one)
        if fresh:
            listed = {one.key for one in wanted} | self._asked_last.strange
            for key in [key for key in self._left if key not in listed]:
                self._forget(key)
        return wanted

    def _offer(self, left: Left) -> Left:
        """Report an end with its evidence; without it, if the hub does not take that."""
        if self._reports.tell(left.finding, log=left.log, events=left.events):
            return left
        self._reports.tell(left.finding)
        left = msgspec.structs.replace(left, refused=True)
        self._keep(left)
        return left

    def _keep(self, left: Left) -> None:
        assert self._left is not None, "it was read at the first look"
        self._spool.put(left)
        self._left[Key(left.finding.id, left.finding.attempt)] = left

    def _forget(self, key: Key) -> None:
        assert self._left is not None, "it was read at the first look"
        self._spool.drop(key)
        del self._left[key]

    def _why_not(self, one: Wanted) -> Refused | None:
        """Why it must not run here, if it is to, and has not ended."""
        if not one.run or one.known.phase in FINAL:
            return None
        return refusal(self._settings, self._consents, one.spec, one.secret_names.values())

    # ------------------------------------------------------------ doing

    def _do(
        self, cluster: Cluster, made: Plan, refusals: list[Finding], barred: Mapping[Key, Refused], *, fresh: bool
    ) -> None:
        """First what needs no hub."""
        for action in made.actions:
            if isinstance(action, Collect):
                self._collect(cluster, action, barred, fresh=fresh)
            elif isinstance(action, End) and ended(cluster, action.which, grace_s=self._grace_s(action)) and fresh:
                self._reports.tell(Finding(id=action.which.id, attempt=action.which.attempt, gone=True))
        if not fresh:
            return
        for finding in (*refusals, *made.findings):
            self._reports.tell(finding)
        for action in made.actions:
            if isinstance(action, Introduce):
                self._introduce(action.finding)
            elif isinstance(action, Ensure):
                self._reports.tell(self._ensured(cluster, action))

    def _grace_s(self, action: End) -> float:
        """As it was asked for; of what people here do not allow any more, not as long as its coordinator likes."""
        key = Key(action.which.id, action.which.attempt)
        spec = next((one.spec for one in self._wanted or [] if one.key == key), None)
        allowed = spec is None or refusal(self._settings, self._consents, spec) is None
        return action.grace_s if allowed else min(action.grace_s, NOT_ALLOWED_GRACE_S)

    def _collect(self, cluster: Cluster, action: Collect, barred: Mapping[Key, Refused], *, fresh: bool) -> None:
        """Its evidence lies here before anything of it is removed."""
        finding = action.finding
        why = barred.get(Key(action.which.id, action.which.attempt))
        if why is not None and finding.phase not in FINAL:
            detail = said(why.fact, MAX_DETAIL)
            finding = msgspec.structs.replace(finding, phase=Phase.FAILED, reason=why.reason, detail=detail)
        if fresh and action.log_from is not None and self._gives_logs:
            self._reports.tell_log(cluster, action.which, action.log_from)
        evidence = self._evidence(cluster, action.which)
        if evidence is not None:
            left = Left(finding, evidence.log, evidence.events)
            self._keep(left)
            if fresh:
                self._offer(left)
        elif fresh:
            self._reports.tell(finding)

    @property
    def _gives_logs(self) -> bool:
        return self._settings is not None and self._settings.logs

    def _evidence(self, cluster: Cluster, which: AttemptId) -> Evidence | None:
        """As the hub gets it: without the log, if people of this site keep that."""
        evidence = collected(cluster, which, log_bytes=EVIDENCE_BYTES)
        if evidence is None or self._gives_logs:
            return evidence
        self._spool.keep_log(Key(which.id, which.attempt), evidence.log)
        return Evidence(b"", [*evidence.events[1 - MAX_EVENTS :], LOGS_STAY])

    def _introduce(self, finding: Finding) -> None:
        """The hub is told the hash of its one-time token before it can use that."""
        for one in self._wanted or []:
            if one.key == Key(finding.id, finding.attempt) and ENROLMENT_TOKEN in one.spec.secrets:
                token = one.spec.secrets[ENROLMENT_TOKEN]
                self._reports.tell(finding, token_sha256=hashlib.sha256(token.encode()).hexdigest())

    def _ensured(self, cluster: Cluster, action: Ensure) -> Finding:
        """With this site's own secrets, which are on no disk but where its people have put them."""
        assert self._settings is not None, "there is a cluster"
        spec = self._whole(action)
        try:
            values = secret_values(self._settings, self._folder, action.secret_names)
        except Refused as error:
            return refused(spec, error)
        return ensured(cluster, msgspec.structs.replace(spec, secrets=spec.secrets | values))

    def _whole(self, action: Ensure) -> Spec:
        """What has a token for the hub is told where that is."""
        spec = action.spec
        if not (action.enrols or spec.secrets):
            return spec
        return msgspec.structs.replace(spec, environment=spec.environment | {HUB_URL: self._client.hub})

    def _end_all(self, cluster: Cluster, why: str) -> None:
        """Each with its evidence kept; the hub hears of it from whoever is started next."""
        if self._left is None:
            self._spool.make()
            self._left = self._spool.left()
        seen = cluster.observe(self._site_id)
        for one in seen:
            which = AttemptId(self._site_id, one.place, one.id, one.attempt)
            finding = finding_of(one)
            if one.phase not in FINAL:
                finding = msgspec.structs.replace(finding, phase=Phase.FAILED, reason=Reason.EVICTED, detail=why)
            if Key(one.id, one.attempt) not in self._left:
                evidence = self._evidence(cluster, which)
                if evidence is not None:
                    self._keep(Left(finding, evidence.log, evidence.events))
        grace_s = {one.key: one.spec.grace_s for one in self._wanted or []}
        left = seen
        until = self._clock.monotonic() + END_WITHIN_S
        while left and self._clock.monotonic() < until:
            left = [one for one in left if not self._stopped(cluster, one, grace_s)]
            if left:
                self._clock.wait(threading.Event(), PAUSE_S)
        self._log("workloads ended", count=len(seen) - len(left), left=len(left) or None)

    def _stopped(self, cluster: Cluster, one: Observed, grace_s: Mapping[Key, float]) -> bool:
        within_s = min(grace_s.get(Key(one.id, one.attempt), END_WITHIN_S), END_WITHIN_S / 2)
        return ended(cluster, AttemptId(self._site_id, one.place, one.id, one.attempt), grace_s=within_s)

    # ------------------------------------------------------------ telling

    def _tell_trouble(self, fact: str, *, fresh: bool) -> None:
        """Of what cannot be made now people are told why."""
        detail = said(f"the site's cluster cannot be used now: {fact}", MAX_DETAIL)
        with suppress(HubAway):
            for one in self._wanted or []:
                if fresh and one.run and not one.known.uid and one.known.phase is None and one.known.detail != detail:
                    self._reports.tell(msgspec.structs.replace(one.known, reason=Reason.NONE, detail=detail))

    def _opened(self) -> Cluster | None:
        """None if the site has none. Raises `ClusterError`, `OSError`."""
        if self._cluster is None and self._settings is not None:
            self._cluster = self._open(self._settings, self._folder)
        return self._cluster

    def _fails(self, what: str, fact: str) -> bool:
        """Said once until it works again; False, for whoever asks whether it did."""
        if not self._failures[what]:
            self._log(f"workloads: {what} away", detail=fact)
        self._failures[what] += 1
        return False

    def _works(self, what: str) -> None:
        if self._failures[what]:
            self._log(f"workloads: {what} back")
            self._failures[what] = 0
