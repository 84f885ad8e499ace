"""Services whose replicas have names of their own, and the volume that a place's workloads share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fedyard.cluster.manifests import Rules
from fedyard.cluster.port import REPLICA, Cluster, Made, Part, Phase, Reason, Spec, Volume
from tests.cluster.programs import SERVICE, python
from tests.cluster.test_contract import Yard as AnyYard
from tests.cluster.worlds import World, needs

pytestmark = needs("volumes")
WRITES = """
import os, pathlib
root, name = pathlib.Path(os.environ["SHARED"]), os.environ["HOSTNAME"]
(root / f"{name}.{name[:-2]}:8080" / "said").write_text(name + " " + os.environ.get("DIALS", ""))
(root / "common").read_text()
"""


class Yard(AnyYard):
    def named(self, name: str, **fields: Any) -> Spec:
        """Each replica writes into a folder of its own, and reads `common`."""
        own = f"{REPLICA}.{name}:8080"
        volume = Volume(
            variable="SHARED",
            parts=[Part("common"), Part(own, write=True)],
            made=[Made("common", file=True, mode=0o640), Made(own), Made(f"{own}/private", mode=0o700)],
        )
        command = python(WRITES + SERVICE)
        return self.service(**{"name": name, "stable": True, "volume": volume, "command": command, **fields})

    def files(self, **fields: Any) -> list[str]:
        """All that lies in the volume, as a job lists it that sees all of it, and what files hold."""
        script = 'cd "$SHARED" && find . -type d | sort && for one in $(ls -d */said); do cat "$one" && echo; done'
        spec = self.job(script, volume=Volume(variable="SHARED", parts=[Part()]), **fields)
        self.cluster.ensure(spec)
        assert self.ended(spec).phase is Phase.SUCCEEDED
        return self.log(spec).decode().splitlines()

    def ready(self, spec: Spec, count: int) -> dict[str, str]:
        """Addresses."""
        return dict(self.until(spec, lambda one: (one.ready, one.replicas) == (count, count)).addresses)


@pytest.fixture
def yard(shared_cluster: Cluster, world: World) -> Iterator[Yard]:
    made = Yard(world, shared_cluster)
    yield made
    for owner, place in made.places:
        made.cluster.remove_place(owner, place)


def folders(*names: str) -> list[str]:
    return [".", *(line for name in names for line in (f"./{name}:8080", f"./{name}:8080/private"))]


def test_replicas_have_names_and_write_what_is_theirs_also_after_they_were_scaled(yard: Yard) -> None:
    spec = yard.named("selector", replicas=2, dials={"DIALS": "coordinator:50050"})
    yard.cluster.ensure(spec)
    assert yard.ready(spec, 2)["inside"].endswith(":8080")
    two = [f"selector-{number}.selector" for number in range(2)]
    *there, first, second = yard.files()
    assert there == folders(*two)
    assert [line.split()[0] for line in (first, second)] == ["selector-0", "selector-1"]
    assert {line.rpartition(":")[2] for line in (first, second)} == {"50050"}
    assert yard.refused(yard.named("selector")) is Reason.NOT_READY, "one of a name is there"
    yard.cluster.scale(spec.attempt_id, 1)
    yard.ready(spec, 1)
    yard.cluster.scale(spec.attempt_id, 3)
    yard.ready(spec, 3)
    three = [*two, "selector-2.selector"]
    assert yard.files()[:7] == folders(*three)
    yard.waited(lambda: yard.cluster.stop(spec.attempt_id, grace_s=1))
    again = yard.named("selector")
    yard.cluster.ensure(again)
    yard.ready(again, 1)
    assert yard.files()[:7] == folders(*three), "the volume stays"


def test_a_volume_whose_disk_is_full_ends_what_writes_there_and_its_log_says_why(yard: Yard) -> None:
    whole = Volume(variable="SHARED", parts=[Part(write=True)])
    spec = yard.job('ln -s /dev/full "$SHARED/full" && echo kept && echo lost > "$SHARED/full"', volume=whole)
    yard.cluster.ensure(spec)
    ended = yard.ended(spec)
    assert (ended.phase, ended.reason) == (Phase.FAILED, Reason.EXIT_CODE)
    left = yard.cluster.evidence(spec.attempt_id, log_bytes=1000).log.decode()
    assert left.startswith("kept\n")
    assert "No space left on device" in left or "I/O error" in left


@needs("kubernetes")
def test_what_cannot_be_prepared_says_why(world: Any) -> None:
    yard = Yard(world, world.client(rules=Rules(prepare_image="not/there@sha256:" + "0" * 64)))
    spec = yard.named("one")
    yard.cluster.ensure(spec)
    yard.until(spec, lambda one: one.reason is Reason.IMAGE_NOT_PULLED)
    yard.waited(lambda: yard.cluster.stop(spec.attempt_id, grace_s=0))
    again = yard.named("one", id=spec.id, attempt=2)
    yard.waited(lambda: yard.refused(again) is None)
    yard.cluster.remove_place(yard.owner, yard.place)


def test_two_places_share_neither_files_nor_addresses_and_a_volume_goes_with_its_place(yard: Yard) -> None:
    owner, place = yard.elsewhere(owner=yard.owner)
    mine, theirs = yard.named("one"), yard.named("one", place=place)
    for spec in (mine, theirs):
        yard.cluster.ensure(spec)
    assert yard.ready(mine, 1) != yard.ready(theirs, 1)
    other = yard.named("two", place=place)
    yard.cluster.ensure(other)
    yard.ready(other, 1)
    assert yard.files()[:3] == folders("one-0.one")
    yard.waited(lambda: yard.cluster.remove_place(owner, yard.place))
    assert yard.files()[:1] == ["."], "nothing is left of it"
    yard.place = place
    assert yard.files()[:5] == folders("one-0.one", "two-0.two")
