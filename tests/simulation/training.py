"""Programs that train over Kafka, played as Kafka-ML's containers behave: each reads its control topic from the first
record on, takes the first one with its key, loads its model, tells how it goes, and uploads what it has.

Exactly 200 is a success to them. Whatever else they hear they repeat, ten times at most, and then end as if all were
well. What they sent last may arrive when another attempt runs, or none.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
from urllib3 import encode_multipart_formdata

import actors.streams
import actors.sweeper
import domain.decisions.streams.jobs
from domain import records as r
from domain import stream_records as sr
from domain.ids import sha256_hex
from domain.states import ResultState
from domain.streams.expressions import ranges_of
from domain.streams.training import key_of
from domain.workloads import is_open
from fedyard.cluster.port import Reason
from fedyard.wire.chunks import digests_of, tree_digest
from tests.simulation.clusters import Object
from tests.simulation.processes import Answer, Lost, Request
from tests.simulation.streams import CLUSTER, GONE, SAMPLE_COUNT, SAMPLES
from tests.simulation.world import Broken, Process, World
from web.live.waiters import LOOK_AGAIN_S, Place, Waiters

URL, TRIES = "RESULT_URL", 10
SPANS_OF_TRAINING: list[tuple[Any, str, Any]] = [
    (actors.streams, "TRIED_FOR_S", 15),
    (actors.sweeper, "UNKNOWN_AFTER", 10**18),  # files have the age of this machine's clock
    (domain.decisions.streams.jobs, "LINGERS_S", 12),
]
Attempt = tuple[str, int, int]
"""At which workload, which one, and the number of the result that it is to give."""


def waiting_in(world: World) -> Callable[..., None]:
    """In place of `Waiters.sleep`: in one thread others take their turns while a request waits."""

    def sleep(self: Waiters, place: Place, seconds: float, again_s: float = LOOK_AGAIN_S) -> None:
        if not self.closing and not place.let_go:
            world.let_others(world.web, min(seconds, again_s), lambda: place.woken)
            if place.wait(0):
                place.woken = False

    return sleep


@dataclass
class Door:
    """What came to the door. sent: by each attempt, by the digest of its `data`: of its model, and what it was trained
    on. heard: what was answered with 200, and when."""

    sent: dict[Attempt, dict[str, tuple[str, str]]] = field(default_factory=lambda: defaultdict(dict))
    heard: dict[Attempt, tuple[str, int]] = field(default_factory=dict)
    uploading: int = 0
    """The number of the result that somebody gave last."""

    def history_went_back(self, to: int) -> None:
        """What was answered since is no promise any more."""
        self.heard = {attempt: heard for attempt, heard in self.heard.items() if heard[1] < to}


class Trainer(Process):
    """Of one object in the cluster. It has one life."""

    def __init__(self, world: World, one: Object) -> None:
        super().__init__(world, f"trainer {one.uid}")
        self.kind = "trainer"
        told = one.spec.environment
        self._one = one
        self._chance = random.Random(f"{world.seed} {self.name}")
        self._number, self._rid = int(told["DEPLOYMENT_ID"]), int(told["RESULT_ID"])
        self._topic = told["CONTROL_TOPIC"]
        self._path = urlsplit(one.spec.secrets[URL]).path
        self._attempt = (one.spec.id, one.spec.attempt, self._rid)
        self._goes_on = self._program()
        self._upload: Request | None = None
        self._digests: dict[bytes, str] = {}
        """Of the `data` in each body that it has sent."""

    def begin(self) -> None:
        if self.life == 0 and self._one.runs(self.world.micros):
            super().begin()

    def die(self) -> None:
        self._one.dies(self.world.micros, Reason.SIGNALLED)

    def step(self) -> float:
        if self.world.waited_for:  # one request waits at a time
            return 0.1
        if not self._one.runs(self.world.micros):
            self._say_last_words()
        else:
            pause = next(self._goes_on, None)
            if pause is not None:
                return pause
            self._one.dies(self.world.micros, Reason.NONE)
        self.end()
        return 1.0

    def _say_last_words(self) -> None:
        if self._upload is not None and self._chance.random() < 0.8:
            self.world.web.late(self._upload, self._chance.uniform(0.1, 8))

    def _program(self) -> Generator[float]:
        """Pauses between what it does. When it is over it exits with 0."""
        chance = self._chance
        source = yield from self._find_data()
        loaded = yield from self._repeat(Request("GET", self._path, ""))
        if not loaded:  # today's containers end well then, too
            return
        for epoch in range(chance.randint(0, 2)):
            yield chance.uniform(0.2, 1.0)
            self._tell(epoch)
        if chance.random() < 0.1:
            return
        first = self._upload = self._given(source, "")
        if chance.random() < 0.25:
            self._one.dies(self.world.micros, chance.choice((Reason.EXIT_CODE, Reason.EVICTED, Reason.EVICTED)))
            yield 0.1
        given = yield from self._repeat(first)
        while chance.random() < 0.45:  # it says so again, or something else, which is too late
            again = self._given(source, chance.choice(("", "otherwise ")))
            yield chance.uniform(0.1, 1.0)
            if given:
                yield from self._repeat(again, tries=1)
        if chance.random() < 0.1:
            self._one.dies(self.world.micros, Reason.EXIT_CODE)
        if chance.random() < 0.1:  # it hangs
            while True:
                yield 1.0

    def _find_data(self) -> Generator[float, None, str]:
        """The first record with its whole key, in a topic that it reads from the beginning. What that says of it."""
        own = self._topic not in CLUSTER.control_topics
        while True:
            records = self.world.kafka.topics.records.get(self._topic, [])
            mine = [one for one in records if one.key == key_of(self._number)]
            if mine:
                break
            if own:
                raise Broken(
                    f"{self.name} runs, and its topic {self._topic} has no record of deployment {self._number}"
                )
            yield 0.5
        while not own and not mine[0].value.startswith(b"{"):  # in the topic that all share anybody says anything
            self._one.dies(self.world.micros, Reason.EXIT_CODE)
            yield 0.1
        said = msgspec.json.decode(mine[0].value)
        ranges = ranges_of(said["topic"])
        assert ranges is not None
        if own and (any(not one.count for one in ranges) or said["total_msg"] != sum(one.count for one in ranges)):
            raise Broken(f"{self.name} is told to train on {said['topic']}, {said['total_msg']} records")
        for one in ranges if own else ():
            if (one.topic, one.partition) != (SAMPLES, 0) or not GONE <= one.start < one.end <= SAMPLE_COUNT:
                raise Broken(f"{self.name} is to train on {one}, which is not there")
        return str(said["description"])

    def _given(self, source: str, otherwise: str) -> Request:
        """What it uploads; the model is another one wherever the rest is."""
        said = msgspec.json.encode(
            {
                "train_metrics": {"loss": [0.5]},
                "val_metrics": {"loss": [0.6]},
                "test_metrics": {"loss": 0.7},
                "training_time": 1.5,
                "trained_by": f"{otherwise}{self._one.uid}",
            }
        )
        model = f"model {otherwise}of {self._one.uid}".encode()
        self.world.door.sent[self._attempt][sha256_hex(said)] = (tree_digest(digests_of(model)), source)
        fields = {"data": (None, said), "trained_model": ("model.pt", model)}
        body, content_type = encode_multipart_formdata(fields, boundary="boundary")
        self._digests[body] = sha256_hex(said)
        return Request("POST", self._path, "", body, content_type=content_type)

    def _tell(self, epoch: int) -> None:
        said = msgspec.json.encode({"train_metrics": {"loss": [0.5] * (epoch + 1)}, "val_metrics": {}})
        form = urlencode({"data": said.decode()}).encode()
        path = self._path.replace("results", "results_metrics")
        self._ask(Request("POST", path, "", form, content_type="application/x-www-form-urlencoded"))

    def _repeat(self, request: Request, tries: int = TRIES) -> Generator[float, None, bool]:
        """Until it is answered with 200, so often at most."""
        for _ in range(tries):
            if self._ask(request):
                return True
            yield self._chance.uniform(0.3, 1.0)
        return False

    def _ask(self, request: Request) -> bool:
        """Was it answered with 200? All else is a failure to these programs, so that no other success may be said."""
        open_before = self._is_open()
        self.world.door.uploading = self._rid
        self.world.place(self, "before a request")
        try:
            answer = self.world.web.ask(request)
        except Lost:
            return False
        self.world.place(self, "after a request")
        self.world.checker.check()
        if 200 < answer.status < 400:
            raise Broken(f"{self.name}: {request.method} {request.path} was answered {answer.status}, which is no 200")
        if answer.status == 401 and open_before and self._is_open():
            raise Broken(f"{self.name} was not let in, and its attempt goes on")
        if request.method == "POST" and "multipart" in request.content_type:
            self._heard(request, answer)
        return answer.status == 200

    def _is_open(self) -> bool:
        """Does the hub's record say that this attempt goes on, and may give its result?"""
        workload = self.world.checker.have(r.Workload, self._one.spec.id)
        attempt = self.world.checker.have(r.WorkloadAttempt, self._one.spec.id, self._one.spec.attempt)
        if workload is None or attempt is None or self.world.restores.done:
            return False
        return workload.attempt == attempt.attempt and workload.stop_at is None and is_open(attempt)

    def _heard(self, request: Request, answer: Answer) -> None:
        """Of a result: after 200 it is on record as it was sent; what was sent first is taken every time."""
        result = next((o for o in self.world.checker.every(sr.TrainingResult) if o.number == self._rid), None)
        mine = self._digests[request.body]
        if answer.status == 200:
            found = result and (result.state, result.attempt, result.digest)
            if found != (ResultState.FINISHED, self._one.spec.attempt, mine):
                raise Broken(f"{self.name} gave {mine} and was told so, but result {self._rid} is {found}")
            self.world.door.heard[self._attempt] = (mine, self.world.micros)
        elif (
            result is not None
            and (result.attempt, result.digest) == (self._one.spec.attempt, mine)
            and (answer.status == 409 and self._is_open())
        ):
            raise Broken(f"{self.name} gave {mine} before, and is refused: {answer.body}")


class Trainers(Process):
    """Plays the jobs of deployments."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "trainers")

    def step(self) -> float:
        for one in self.world.cluster.living():
            if not one.begun and URL in one.spec.secrets and one.runs(self.world.micros):
                one.begun = True
                trainer = Trainer(self.world, one)
                self.world.processes.append(trainer)
                trainer.begin()
        return 0.2
