"""A round of Fedota's with stand-ins for its coordinator and selectors, on the files and names that the hub gives."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import msgspec
import pytest

from domain import values as v
from domain.infrastructure import PARTS, PartName, shaped, spec_of_part
from fedyard.cluster.port import Cluster, Part, Phase, Spec, Volume
from fedyard.cluster.processes import Processes
from tests.cluster.programs import SERVICE, python
from tests.cluster.test_contract import SMALL
from tests.cluster.test_contract import Yard as AnyYard
from tests.cluster.worlds import World, needs

pytestmark = needs("volumes")
SELECTOR = """
import os, pathlib, socket
root, port = pathlib.Path(os.environ["FL_ROOT_PATH"]), "50051"
own = root / f"{os.environ['HOSTNAME']}.{os.environ['SELECTOR_SERVICE']}:{port}"
assert (root / "initFiles" / "fl_checkpoint").exists()
(own / "roundFiles" / "checkpoint_1").write_text("of a client")
(own / "fl_agg_checkpoint").write_text(os.environ["HOSTNAME"])
host, _, port = os.environ["COORDINATOR_ADDRESS"].rpartition(":")
try:
    socket.create_connection((host, int(port)), 5).close()
    (own / "dialled").write_text("yes")
except OSError:
    pass
"""
COORDINATOR = """
import os, pathlib, threading, time
root = pathlib.Path(os.environ["FL_ROOT_PATH"])
def rounds():
    while True:
        found = sorted(root.glob("selector-*/fl_agg_checkpoint"))
        if len(found) >= int(os.environ["CHECKIN_LIMIT"]):
            (root / "initFiles" / "fl_checkpoint").write_text(" ".join(one.read_text() for one in found))
        time.sleep(0.05)
threading.Thread(target=rounds, daemon=True).start()
"""
PROGRAMS: dict[PartName, str] = {"coordinator": COORDINATOR, "selector": SELECTOR}


class Yard(AnyYard):
    def part(self, part: PartName, place: str, selectors: int = 2) -> Spec:
        said = v.Infrastructure(
            coordinator_image=self.world.image, selector_image=self.world.image, selectors=selectors
        )
        asked = spec_of_part(part, said, place, goal=selectors)
        id = str(uuid.uuid5(uuid.UUID(place), part))
        spec = shaped(
            Spec(
                owner=self.owner,
                place=place,
                id=id,
                attempt=1,
                kind=asked.kind,
                image=asked.image,
                environment=asked.environment,
                replicas=asked.replicas,
                port=asked.port,
            ),
            part,
        )
        command = python(PROGRAMS[part] + SERVICE)  # which report nothing
        return msgspec.structs.replace(spec, command=command, companion=None, resources=SMALL, grace_s=1.0)

    def reads(self, script: str, place: str) -> str:
        spec = self.job(f'cd "$V" && {script}', volume=Volume(variable="V", parts=[Part()]), place=place)
        self.cluster.ensure(spec)
        assert self.ended(spec).phase is Phase.SUCCEEDED, self.log(spec)
        return self.log(spec).decode()


@pytest.fixture
def yard(shared_cluster: Cluster, world: World) -> Iterator[Yard]:
    made = Yard(world, shared_cluster)
    yield made
    for owner, place in made.places:
        made.cluster.remove_place(owner, place)


def test_two_projects_at_once_go_through_a_round_each_with_its_own_files(yard: Yard) -> None:
    _, second = yard.elsewhere(owner=yard.owner)
    projects = {yard.place: 2, second: 1}
    made = {}
    for place, selectors in projects.items():
        for part in reversed(PARTS):  # whoever starts first
            spec = yard.part(part, place, selectors)
            yard.cluster.ensure(spec)
            made[place, part] = spec
    for spec in made.values():
        yard.until(spec, lambda one: one.ready == one.replicas)
    for place, selectors in projects.items():
        of = " ".join(f"selector-{number}" for number in range(selectors))
        waits = f'for _ in $(seq 200); do [ "$(cat initFiles/fl_checkpoint)" = "{of}" ] && break; sleep 0.05; done'
        listed = yard.reads(
            f"{waits}; cat initFiles/fl_checkpoint; echo; ls -d */; stat -c %a selector-0*/roundFiles", place
        )
        folders = ["initFiles/", *(f"selector-{number}.selector:50051/" for number in range(selectors))]
        assert listed.splitlines() == [of, *folders, "700"]
        if isinstance(yard.cluster, Processes):  # names need a cluster's DNS, which the tests' has not
            assert yard.reads("ls selector-0*/dialled", place)
