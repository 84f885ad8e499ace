"""The programs of docs/python.md do what the page says, in its order; its table has the calls that there are."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys

import matplotlib as mpl
import pytest

from fedyard import Client, NeedsFolder
from fedyard.client.operating import OperatorsCalls
from fedyard.client.people import PeoplesCalls
from tests.fedyard.python.conftest import Scene
from tests.fedyard.world import World
from tests.ops.program import ROOT
from tests.waiting import until

PAGE = (ROOT / "docs" / "python.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_its_programs_work(scene: Scene, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    mpl.use("agg")
    admin = Client(world.hub, world.admin_token)
    token = admin.create_account(world.organisation_id, "Reader", "member").token
    north = scene.sites[0]
    names = {
        '"https://hub.example"': repr(world.hub),
        '"means"': repr(scene.project.name),
        '"means/': f'"{scene.project.name}/',
        'site="north"': f"site={north.name!r}",
        '"West"': repr(f"{north.name} west"),
    }
    known: dict[str, object] = {"token": token, "admin_token": world.admin_token}
    until(lambda: len(scene.run.log()) >= 4)
    with contextlib.chdir(north.path.parent):
        for program in PROGRAMS:
            for said, meant in names.items():
                program = program.replace(said, meant)  # noqa: PLW2901 - one after the other
            exec(compile(program, "docs/python.md", "exec"), known)  # noqa: S102 - the page's own
        assert (north.path.parent / "run.png").stat().st_size > 10_000
        assert (north.path.parent / "means.npz").exists()
    said = capsys.readouterr().out
    assert "succeeded It succeeded" in said
    assert "round 1 of <b>0.5</b>" in said
    assert f"{north.name} west" in said
    assert "succeeded [3.] [2.0, 2.0] 4" in said
    assert "&lt;" not in known["tried"]._repr_html_()
    assert [*known["by_round"]["spread"]] == [3.0, 3.0]
    assert {*known["by_site"]["site"]} == {site.name for site in scene.sites}
    assert [row.text for row in known["comparison"].settings][:1] == ["train.rate"]


def test_its_table_names_every_call_of_people() -> None:
    _, _, table = PAGE.partition("## All calls")
    named = {*re.findall(r"`(\w+)`", table.partition("## Simulations")[0])} - {"token", "secret", "fedyard"}
    named -= {"Refused", "Unavailable", "give_up_s"}
    assert [name for name in sorted(named) if not hasattr(Client, name)] == []
    own = {name for kind in (PeoplesCalls, OperatorsCalls, Client) for name in vars(kind) if not name.startswith("_")}
    assert sorted(own - named) == []


def test_its_left_column_is_what_needs_no_folder(world: World) -> None:
    """What stands on the right raises; tests/fedyard/python/test_client.py asks for each."""
    admin = Client(world.hub, world.admin_token)
    for ask in (lambda: admin.join("any"), lambda: admin.leave("any"), admin.messages):
        with pytest.raises(NeedsFolder, match=r"Client\.of_site"):
            ask()


def test_to_import_it_is_light() -> None:
    program = """
import sys
import fedyard
print(sorted(name for name in sys.modules if name.startswith("fedyard.")))
fedyard.Client("http://127.0.0.1:1", "token")
print([name for name in ("numpy", "pandas", "matplotlib", "IPython", "click", "rich") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]
