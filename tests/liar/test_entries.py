"""Entries of the hub's invention: ids that are paths, fields that are none, facts that nobody can read."""

from __future__ import annotations

from pathlib import Path

from chaos.liar import liar_before
from chaos.lies import Json, entries_of
from tests.fedyard.world import World, project_of
from tests.liar.agents import at_work
from tests.waiting import until

FILE = "precious.txt"


def forged(folder: Path) -> list[Json]:
    """What takes the place of a message."""
    ended = {"kind": "run_ended", "message": None}
    body = {"kind": "message", "body": "ZXZpbA==", "sender_site_id": None}
    return [
        {**ended, "run_id": str(folder)},
        {**ended, "run_id": f"../../{folder.name}"},
        {**ended, "run_id": ".."},
        {**ended, "run_id": None},
        {"kind": "task_ended", "run_id": "/"},
        {"kind": "invited", "run_id": str(folder), "task_seq": 1, "round": 1},
        {"kind": "message", "message": {"id": str(folder / FILE), **body}},
        {"kind": "message", "message": {"id": f"../{FILE}", **body}},
        {"kind": "message", "message": None},
        {"kind": "message", "message": 5},
        {"kind": "../../x"},
        {"kind": "x" * 100_000},
        {"kind": "unheard_of"},
        {"task_seq": 2**70},
        {"round": -1},
        {"round": "1"},
        {"project_id": "/etc"},
        {"created_at": "yesterday"},
        {"facts": 1e300},
    ]


def test_no_invented_entry_has_an_effect_and_none_ends_the_agent(world: World, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / FILE).write_text("kept")
    lies, told = forged(precious), dict[int, Json]()

    def lie(entry: Json) -> Json:
        if lies and entry["seq"] not in told:
            told[entry["seq"]] = lies.pop(0)
        return {**entry, **told.get(entry["seq"], {})}

    with (
        liar_before(world.hub, entries_of("message", lie)) as liar,
        at_work(world, tmp_path, honest="north", lied_to="east", hub=liar.url) as (north, east),
    ):
        project = project_of([north.site, east.site], rounds=1, sealed="optional")
        for number in range(len(lies)):
            north.site.client.post_message(project.id, [east.site.site_id], b"hello", key=f"{north.site.name}-{number}")
        until(lambda: not lies)
        run = project.finished(project.start())
        assert (run.state, east.failure) == ("succeeded", None)
        until(lambda: "run_ended" in {line["what"] for line in east.lines()})
        assert (precious / FILE).read_text() == "kept"
        assert len(east.lines("entry not understood")) >= 15
        assert str(precious) not in str(east.lines("entry not understood"))


def test_an_invitation_whose_parameters_cannot_travel_fails_its_seat(world: World, tmp_path: Path) -> None:
    def lie(entry: Json) -> Json:
        entry["facts"]["task"]["parameters"] = {"seed": 2**70}
        return entry

    with (
        liar_before(world.hub, entries_of("invited", lie)) as liar,
        at_work(world, tmp_path, honest="north", lied_to="east", hub=liar.url) as two,
    ):
        project = project_of([agent.site for agent in two], rounds=1)
        run = project.finished(project.start())
        assert run.state == "failed"
        assert [agent.failure for agent in two] == [None, None]
        reasons = [str(e.facts["reason"]) for e in project.coordinator.events(run.id) if e.kind == "seat_failed"]
        assert len(reasons) == 1
        assert "64 bits" in reasons[0]
