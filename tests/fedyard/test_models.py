"""`fedyard models`: what there is, and one of them as a file."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fedyard.test_agent import trained
from tests.fedyard.test_sealed import lying, site_command
from tests.fedyard.world import World, project_of


@pytest.mark.parametrize(("model", "parameters"), [("Gated", {}), ("Large", {"count": 400_000})])
def test_models_are_listed_and_fetched_but_not_by_who_joined_later(
    world: World, sites, tmp_path, model: str, parameters: dict[str, object]
) -> None:
    north, east, _ = sites
    project = project_of(sites, model=model, parameters=parameters)
    name = north.client.project(project.id).name
    trained(project, project.start())
    rows = [line.split("│")[1:5] for line in site_command(east, "models", name).stdout.splitlines() if "│ 1.1" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [[n, "1.1", "train", n] for n in ("1", "2")]
    first, second = east.client.models(project.id)
    assert (first.version, second.version, second.round, second.metrics) == (1, 2, 2, {"sites": 3.0})
    for version in (1, 2):
        target = tmp_path / f"version {version}"
        fetched = site_command(east, "models", name, "--get", str(version), "--to", str(target))
        assert fetched.returncode == 0, fetched.stderr
        with np.load(target) as arrays:
            assert arrays["total"][0] == float(version)
    (late,) = world.sites(tmp_path, "late")
    late.join(project.id)
    assert "sites" in site_command(late, "models", name).stdout
    refused = site_command(late, "models", name, "--get", "1", "--to", str(tmp_path / "late.npz"))
    assert refused.returncode == 1
    assert "not sealed to this site" in refused.stderr
    assert not (tmp_path / "late.npz").exists()


def test_what_cannot_be_fetched_says_why(sites, tmp_path) -> None:
    north = sites[0]
    project = project_of(sites, rounds=1)
    name = north.client.project(project.id).name
    for wrong in (
        ["models", "nothing"],
        ["models", name, "--get", "1"],
        ["models", name, "--to", str(tmp_path / "x")],
        ["models", name, "--get", "1", "--to", str(tmp_path / "x")],
    ):
        assert site_command(north, *wrong).returncode == 2
    trained(project, project.start(), rounds=1)
    nowhere = site_command(north, "models", name, "--get", "1", "--to", str(tmp_path / "no" / "x"))
    assert (nowhere.returncode, "there is no folder" in nowhere.stderr) == (2, True)


def test_a_version_is_the_model_of_its_round(world: World, tmp_path) -> None:
    """The hub shows the first version as the second."""
    with lying(world, tmp_path, "north", "east") as (wire, sites):
        for site in sites:
            site.start()
        project = project_of(sites)
        trained(project, project.start())
        east = sites[1]
        first, second = east.client.models(project.id)

        def rewrite(_method: str, path: str, content: bytes) -> bytes:
            if path.partition("?")[0].endswith("/models"):
                return content.replace(second.message_id.encode(), first.message_id.encode())
            return content

        wire.rewrite = rewrite
        name = east.client.project(project.id).name
        refused = site_command(east, "models", name, "--get", "2", "--to", str(tmp_path / "x"))
        assert refused.returncode == 1
        assert "the hub showed it in the wrong place" in refused.stderr
        assert not (tmp_path / "x").exists()
