"""A job with files, on every world: what it finds before it begins, and what of it is kept once it has ended well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fedyard.cluster.conventions import FILES_TOKEN, HUB_URL, WORKLOAD_ID
from fedyard.cluster.port import Cluster, Files, InputFile, Phase, Reason, Spec
from fedyard.wire.chunks import CHUNK_BYTES, digests_of, tree_digest
from tests.cluster.files_hub import Hub, serving
from tests.cluster.programs import sh
from tests.cluster.test_contract import SMALL, Yard
from tests.cluster.worlds import World, needs

pytestmark = needs("hub", "files")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as server:
        yield server


@pytest.fixture
def yard(world: World, shared_cluster: Cluster) -> Iterator[Yard]:
    made = Yard(world, shared_cluster)
    yield made
    for owner, place in made.places:
        made.cluster.remove_place(owner, place)


Job = Callable[..., Spec]


@pytest.fixture
def job(yard: Yard, hub: Hub) -> Job:
    """An attempt with what the hub has as inputs, and with these outputs; not made yet."""

    def made(script: str, outputs: dict[str, bool] | None = None, **fields: Any) -> Spec:
        inputs = {
            name: InputFile(tree_digest(digests_of(content)), len(content)) for name, content in hub.inputs.items()
        }
        return yard.job(
            **{
                "command": sh(script),
                "environment": {HUB_URL: hub.url, WORKLOAD_ID: "w", "OWN": "x"},
                "secrets": {FILES_TOKEN: "secret"},
                "files": Files(FILES_TOKEN, inputs, outputs or {}),
                **fields,
            }
        )

    return made


def test_inputs_are_there_before_it_begins_and_outputs_are_kept_after_it_has_ended(
    yard: Yard, hub: Hub, job: Job
) -> None:
    hub.inputs = {"model.bin": b"weights", "large": bytes(range(256)) * (CHUNK_BYTES // 256) + b"end", "none": b""}
    script = (
        'cat "$FEDYARD_INPUTS/model.bin"; wc -c < "$FEDYARD_INPUTS/large"; test -e "$HOME/inputs/none" || exit 9; '
        f'echo ":$OWN:${FILES_TOKEN}:"; cp "$FEDYARD_INPUTS/large" "$FEDYARD_OUTPUTS/model"; '
        'echo done > "$HOME/outputs/said"'
    )
    spec = job(script, {"model": True, "said": True, "perhaps": False})
    yard.cluster.ensure(spec)
    done = yard.ended(spec)
    assert (done.phase, done.reason, done.exit_code) == (Phase.SUCCEEDED, Reason.NONE, 0), done
    assert yard.log(spec).replace(b" ", b"") == b"weights%d\n:x::\n" % (CHUNK_BYTES + 3)
    assert hub.stored == {"model": hub.inputs["large"], "said": b"done\n"}
    assert hub.asked.index("GET /inputs/large") < hub.asked.index("POST /outputs/model")


def test_it_runs_while_its_program_does_and_its_log_is_the_programs(yard: Yard, job: Job) -> None:
    spec = job('echo up; sleep 0.3; echo x > "$FEDYARD_OUTPUTS/model"', {"model": True})
    yard.cluster.ensure(spec)
    yard.waited(lambda: yard.log(spec) == b"up\n", each_s=0.02)
    seen = yard.running(spec)
    assert seen.started_s is not None
    assert yard.ended(spec).phase is Phase.SUCCEEDED
    assert yard.cluster.evidence(spec.attempt_id, log_bytes=100).log == b"up\n"


def test_inputs_that_are_not_what_they_shall_be_keep_it_from_beginning(yard: Yard, hub: Hub, job: Job) -> None:
    hub.inputs = {"model": b"weights"}
    spec = job("echo it ran")
    hub.inputs = {"model": b"weightz"}
    yard.cluster.ensure(spec)
    done = yard.ended(spec)
    assert (done.phase, done.reason, done.exit_code) == (Phase.FAILED, Reason.INPUTS_UNAVAILABLE, None)
    assert "model" in done.detail
    assert yard.log(spec) == b""


def test_outputs_that_are_missing_fail_it_and_nothing_is_stored(yard: Yard, hub: Hub, job: Job) -> None:
    spec = job('echo x > "$FEDYARD_OUTPUTS/there"', {"there": True, "model": True, "other": True})
    yard.cluster.ensure(spec)
    done = yard.ended(spec)
    assert (done.phase, done.reason, done.exit_code) == (Phase.FAILED, Reason.OUTPUTS_MISSING, 0)
    assert "no model, other" in done.detail
    assert hub.asked == []


def test_of_a_program_that_fails_nothing_is_stored(yard: Yard, hub: Hub, job: Job) -> None:
    spec = job('echo x > "$FEDYARD_OUTPUTS/model"; exit 7', {"model": True})
    yard.cluster.ensure(spec)
    done = yard.ended(spec)
    assert (done.phase, done.reason, done.exit_code) == (Phase.FAILED, Reason.EXIT_CODE, 7)
    assert hub.asked == []


def test_a_hub_that_does_not_take_them_is_told_apart_from_a_program_that_failed(yard: Yard, hub: Hub, job: Job) -> None:
    hub.refuses = (409, "project p is archived")
    spec = job('echo x > "$FEDYARD_OUTPUTS/model"', {"model": True})
    yard.cluster.ensure(spec)
    done = yard.ended(spec)
    assert (done.phase, done.reason, done.exit_code) == (Phase.FAILED, Reason.OUTPUTS_NOT_STORED, 0)
    assert "project p is archived" in done.detail


def test_it_is_stopped_in_its_program_as_any_job(yard: Yard, hub: Hub, job: Job) -> None:
    hub.inputs = {"model": b"weights"}
    spec = job("trap 'exit 0' TERM; echo up; sleep 600 & wait", {"model": True})
    yard.cluster.ensure(spec)
    yard.up(spec)
    yard.stopped(spec, grace_s=20 * yard.world.patience_s)
    assert yard.seen(spec) is None


def test_a_service_has_none_and_a_token_is_needed(yard: Yard, job: Job) -> None:
    assert yard.refused(job("exit 0", kind="service", port=8080)) is Reason.CONFIG_INVALID
    assert yard.refused(job("exit 0", secrets={})) is Reason.CONFIG_INVALID
    assert SMALL.memory_bytes < 2**27, "the steps need more than the smallest job"
