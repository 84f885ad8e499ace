"""What docs/installing.md shows is what works."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from devservers.tinyproxy import PrivateTinyproxy
from fedyard.actions.status import Status
from fedyard.cli.main import main
from fedyard.cli.site import init
from tests.broker.tls import TlsRelay, certificates
from tests.fedyard.test_ways import port_of
from tests.fedyard.world import World
from tests.ops.program import ROOT

PAGE = (ROOT / "docs" / "installing.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)


def commands(about: str) -> list[list[str]]:
    """The words after `fedyard` of each command of the first block that says this."""
    text = next(text for language, text in BLOCKS if not language and about in text)
    return [shlex.split(line, comments=True)[1:] for line in text.replace("\\\n", " ").splitlines()]


@pytest.fixture(scope="module")
def place(world: World, servers_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A hub with a private authority's certificate and a proxy before it, and what of the page they stand for."""
    folder = tmp_path_factory.mktemp("installing")
    proxy = PrivateTinyproxy(servers_folder / "installing", login=("user", "password"))
    proxy.start()
    files = certificates(folder, "127.1")  # this machine, by a name that is taken for another one's
    files.authority.rename(folder / "ca.pem")
    relay = TlsRelay(0, port_of(world.hub), files, mutual=False)
    (folder / "enrolment.token").write_text(world.admin.create_enrolment(world.organisation_id).token or "")
    (folder / "train.csv").write_text("dose\n1\n")
    with contextlib.chdir(folder):
        yield {"hub.example:8443": f"127.1:{relay.port}", "proxy.example:3128": proxy.address.removeprefix("http://")}
    relay.close()
    proxy.stop()


def said(words: list[str], place: dict[str, str]) -> list[str]:
    for here, there in place.items():
        words = [word.replace(here, there) for word in words]
    return words


@pytest.fixture(scope="module")
def north(place: dict[str, str]) -> Path:
    """The site that the page makes."""
    (init,) = commands("site init")
    assert main(said(init, place)) == 0
    return Path("north")


def test_a_site_is_made_behind_a_proxy_with_a_private_authority(
    north: Path, place: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = (north / "site.toml").read_text()
    written = next(text for language, text in BLOCKS if language == "toml" and "proxy =" in text)
    for here, there in place.items():
        written = written.replace(here, there)
    assert written.strip() in text
    assert 'allow = ["mean_dose:MeanDose"]' in text
    assert re.search(r'^ca_file = "/.*/ca\.pem" ', text, re.MULTILINE)
    assert main(["--folder", "north", "site", "whoami"]) == 0
    assert capsys.readouterr().out.startswith("site north (")
    (north / "ca.pem").write_bytes(Path("ca.pem").read_bytes())
    (north / "site.toml").write_text(re.sub(r'ca_file = ".*?"', 'ca_file = "ca.pem"', text))
    assert main(["--folder", "north", "site", "whoami"]) == 0


def test_a_monitor_is_told_that_no_agent_runs_yet(north: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (status,) = commands("site status")
    assert main(status) == 1
    assert json.loads(capsys.readouterr().out)["why"][0].startswith("no agent has run here yet")


def test_the_page_explains_every_field_of_the_status() -> None:
    told = {name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert set(Status.__struct_fields__) - {"site", "hub", "why"} <= told


def test_the_units_command_works_as_it_stands_there(capsys: pytest.CaptureFixture[str]) -> None:
    (unit,) = commands("site unit")
    assert main(unit[: unit.index(">")]) == 0
    assert "SupplementaryGroups=records\n" in capsys.readouterr().out


def test_every_option_of_init_and_every_extra_is_explained() -> None:
    said = {name for one in init.params for name in one.opts} - {"--hub", "--name", "--token-file", "--folder"}
    said -= {"--description", "--join", "--coordinator"}
    rows = re.findall(r"^\| `(--[\w-]+)", PAGE, re.MULTILINE)
    assert set(rows) == said
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = PAGE.partition("| extra | for |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(extras)
