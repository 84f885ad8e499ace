"""What comes over Kafka: every record once, none before it is safe, none twice; and what jobs make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

import actors.streams
import broker.intake
import config.clock
import domain.decisions.streams.records
import domain.decisions.streams.reports
import domain.states
import domain.streams.door
import domain.streams.training
import web.api.door
import web.http.auth
from broker.bridge import Bridge
from broker.partitions import Partition
from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.draft import Decision, Draft
from domain.decisions.streams import deployments, jobs, training_results
from domain.ids import derive
from domain.states import DeploymentState, ResultState, Step, WorkloadState
from domain.streams.door import attempt_of, secret_of
from domain.streams.training import TRAINING
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World
from web.http.writing import write


@bug("the bridge commits what it has read, and publishes it afterwards", shown_by=3)
def offsets_committed_before_the_confirm(_: World) -> list[Swap]:
    def hasty(self: Partition) -> int | None:
        return self.position if self.items and self.position != self.committed else None

    return [(Partition, "to_commit", hasty)]


def _ids(of: Callable[[sc.TakeRecord], str]) -> list[Swap]:
    return [(broker.intake, "id_of", of), (domain.decisions.streams.records, "id_of", of)]


@bug("ids of records are drawn, so that what is read twice is taken twice", shown_by=3)
def drawn_ids_of_records(_: World) -> list[Swap]:
    return _ids(lambda _: config.clock.draw_id())


@bug("ids of records say nothing of the topic's own: those of one made anew are taken for the old ones", shown_by=11)
def offsets_used_again(_: World) -> list[Swap]:
    right = broker.intake.id_of
    return _ids(lambda command: right(msgspec.structs.replace(command, topic_id="the same")))


@bug("a bridge goes on where its group was, whatever a restored store has forgotten", shown_by=147)
def restored_stores_read_nothing_again(_: World) -> list[Swap]:
    positioned: Any = Bridge._positioned

    def trusting(self: Bridge, *args: Any) -> Partition:
        *rest, _ = args
        placed: Partition = positioned(self, *rest, None)
        return placed

    return [(Bridge, "_positioned", trusting)]


# deployments and the door of their jobs


@bug(
    "a job that uploads is answered before it is decided, with 202, which its program takes for a failure", shown_by=11
)
def door_answers_202(_: World) -> list[Swap]:
    def at_once(call: Any, command: Any, **more: Any) -> Any:
        return write(call, command, **(more | {"waits": False}))

    return [(web.api.door, "write", at_once), (web.api.door, "_once_decided", lambda *given: given[-1])]


_take_result = training_results.take_result


@bug("whatever comes after a job's first upload is taken for the same one", shown_by=3)
def digest_not_compared(_: World) -> list[Swap]:
    def the_same(draft: Draft, command: sc.TakeResult) -> Decision:
        given = next(
            (one for one in draft.every(sr.TrainingResult) if one.number == command.number and one.digest), None
        )
        return _take_result(draft, command if given is None else msgspec.structs.replace(command, digest=given.digest))

    return [(training_results, "take_result", the_same)]


@bug("an upload that is repeated is taken for another one, and refused", shown_by=11)
def repeated_uploads_refused(_: World) -> list[Swap]:
    def another(draft: Draft, command: sc.TakeResult) -> Decision:
        known = any(one.number == command.number and one.digest for one in draft.every(sr.TrainingResult))
        again = msgspec.structs.replace(command, digest=derive(draft.envelope.id, "digest"))
        return _take_result(draft, again if known else command)

    return [(training_results, "take_result", another)]


@bug("a job that ends with exit code 0 has given its results", shown_by=11)
def exit_code_0_believed(_: World) -> list[Swap]:
    right = jobs.ended

    def ended(draft: Draft, workload: r.Workload) -> None:
        if workload.purpose == TRAINING and workload.state == WorkloadState.SUCCEEDED and workload.task_run_id:
            for one in jobs.results_of(draft, workload.run_id or "", workload.task_run_id):
                if one.state == ResultState.DEPLOYED:
                    jobs.move(draft, one, Step.SUCCEED)
        right(draft, workload)

    return [(jobs, "ended", ended)]


@bug("the way in is the job's, whichever attempt at it goes on", shown_by=171)
def way_in_does_not_end_with_the_attempt(world: World) -> list[Swap]:
    def newest(secret: str) -> tuple[str, int]:
        ident, _ = attempt_of(secret)
        workload = world.checker.have(r.Workload, ident)
        return ident, 1 if workload is None else workload.attempt

    def of_the_job(key: bytes, ident: str, _: int) -> str:
        return secret_of(key, ident, 1)

    return [
        (domain.streams.door, "secret_of", of_the_job),
        (web.http.auth, "secret_of", of_the_job),
        (web.http.auth, "attempt_of", newest),
        (web.api.door, "attempt_of", newest),
    ]


@bug("a control topic is written to again although it has its record", shown_by=91)
def control_records_written_again(_: World) -> list[Swap]:
    return [(actors.streams, "_is_there", lambda *_: False)]


@bug("jobs begin whatever the report says of their data", shown_by=19)
def jobs_begin_without_their_data(_: World) -> list[Swap]:
    def hears(draft: Draft, report: sc.ReportStream) -> None:
        deployments.prepared(draft, msgspec.structs.replace(report, reason=""))

    concerned = domain.decisions.streams.reports.CONCERNED
    return [(concerned, "training", replace(concerned["training"], hears=hears))]


@bug("in the topic that all share nobody looks what was announced before the deployment was there", shown_by=139)
def announced_before_and_not_seen(_: World) -> list[Swap]:
    return [(deployments, "_check_first", lambda *_: None)]


@bug("the newest data that are announced count, not the first", shown_by=3)
def newest_data_count(_: World) -> list[Swap]:
    def later(draft: Draft, source: sr.DataSource) -> None:
        arrived(draft, source)
        for one in draft.every(sr.Deployment):
            if one.number == source.deployment_number and one.state != DeploymentState.ENDED:
                draft.change(one, data_source_id=source.id)

    arrived = deployments.data_arrived
    return [(deployments, "data_arrived", later)]
