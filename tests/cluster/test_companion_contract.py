"""What runs beside the replicas of a service: a program of Fedyard's own, here the sidecar itself."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fedyard.cluster.port import Cluster, Companion, Made, Part, Phase, Spec, Volume
from tests.cluster.programs import SERVICE, python
from tests.cluster.test_contract import Yard as AnyYard
from tests.cluster.worlds import World, needs

pytestmark = needs("hub", "volumes")
DIALS = """
import os, socket, time
host, _, port = os.environ["WEBSERVER_ADDRESS"].rpartition(":")
for _ in range(600):
    try:
        socket.create_connection((host, int(port)), 5).close()
        break
    except OSError:
        time.sleep(0.05)
with open(os.environ["FL_ROOT_PATH"] + "/initFiles/fl_checkpoint", "w") as file:
    file.write("weights")
print("dialled", host, sorted(name for name in os.environ if "SECRET" in name or "TOKEN" in name), flush=True)
"""


class Yard(AnyYard):
    def accompanied(self, **fields: Any) -> Spec:
        with socket.socket() as one:  # all pods of the tests share this machine's
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        companion = Companion(
            module="fedyard.sidecar",
            address="WEBSERVER_ADDRESS",
            port=port,
            paths=["initFiles/fl_checkpoint"],
            secrets=["FEDYARD_TOKEN"],
            parts=["initFiles"],
            user=1,
        )
        return self.service(
            **{
                "name": "coordinator",
                "stable": True,
                "environment": {
                    "FEDYARD_PROJECT_ID": self.place,
                    "FEDYARD_HUB_URL": "http://127.0.0.1:9",
                    "LD_PRELOAD": "",
                },
                "secrets": {"FEDYARD_TOKEN": "its-own", "A_SECRET": "the-workloads"},
                "volume": Volume(variable="FL_ROOT_PATH", parts=[Part()], made=[Made("initFiles")]),
                "command": python(DIALS + SERVICE),
                "companion": companion,
                **fields,
            }
        )

    def companions(self) -> list[int]:
        """Processes of this machine."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                mine = f"FEDYARD_PROJECT_ID={self.place}".encode() in (path / "environ").read_bytes().split(b"\0")
                if mine and b"fedyard.sidecar" in (path / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return sorted(found)


@pytest.fixture
def yard(shared_cluster: Cluster, world: World) -> Iterator[Yard]:
    made = Yard(world, shared_cluster)
    yield made
    for owner, place in made.places:
        made.cluster.remove_place(owner, place)


def test_it_is_dialled_on_localhost_has_its_secret_alone_and_starts_again_without_its_workload(yard: Yard) -> None:
    spec = yard.accompanied()
    yard.cluster.ensure(spec)
    first = yard.until(spec, lambda one: one.ready == 1)
    yard.waited(lambda: b"dialled localhost ['A_SECRET']" in yard.log(spec), each_s=0.05)
    (companion,) = yard.companions()
    environment = Path(f"/proc/{companion}/environ").read_bytes().split(b"\0")
    assert b"FEDYARD_TOKEN=its-own" in environment
    assert not [one for one in environment if b"the-workloads" in one or b"LD_PRELOAD" in one]
    checkpoint = Path(f"/proc/{companion}/cmdline").read_bytes().split(b"\0")[-2].decode()
    assert Path(checkpoint).read_text() == "weights"
    os.kill(companion, signal.SIGKILL)
    yard.waited(lambda: yard.companions() not in ([], [companion]), each_s=0.05)
    again = yard.until(spec, lambda one: one.ready == 1)
    assert (again.uid, again.phase) == (first.uid, Phase.RUNNING)
    assert yard.log(spec).count(b"dialled") == 1, "the workload went on"
    yard.waited(lambda: yard.cluster.stop(spec.attempt_id, grace_s=5))
    assert yard.companions() == []


@needs("connections")  # all pods of the tests share this machine's ports
def test_each_replica_has_one_and_it_goes_with_its_replica(yard: Yard) -> None:
    spec = yard.accompanied(replicas=2)
    yard.cluster.ensure(spec)
    yard.until(spec, lambda one: one.ready == 2)
    yard.waited(lambda: len(yard.companions()) == 2, each_s=0.05)
    yard.cluster.scale(spec.attempt_id, 1)
    yard.waited(lambda: len(yard.companions()) == 1, each_s=0.05)
    yard.cluster.scale(spec.attempt_id, 0)
    yard.waited(lambda: yard.companions() == [], each_s=0.05)
    yard.waited(lambda: yard.cluster.stop(spec.attempt_id, grace_s=1))
