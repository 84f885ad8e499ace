"""The site's own word on a project: which section of site.toml holds."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fedyard.agent.consents import Consent
from fedyard.agent.policy import EVERY_PROJECT, ProjectPolicy, policy_of
from fedyard.agent.site import Folder, Settings, SiteError
from fedyard.wire.times import SECOND

ID, OTHER = "00000000-0000-0000-0000-000000000007", "00000000-0000-0000-0000-000000000008"


def consent(name: str = "hearts", project_id: str = ID) -> Consent:
    """As this site gave it to a project of that name."""
    return Consent(project_id=project_id, name=name, coordinator="c", identity=b"", at=0, by="people")


HERS, ITS, OTHERS = (ProjectPolicy(data={"train": file}) for file in ("hers", "its", "others"))


@pytest.mark.parametrize(
    ("sections", "holds"),
    [
        ({"hearts": HERS, ID: ITS, "*": OTHERS}, ITS),
        ({"hearts": HERS, "*": OTHERS}, HERS),
        ({"lungs": HERS, OTHER: ITS, "*": OTHERS}, OTHERS),
        ({"lungs": HERS, OTHER: ITS}, EVERY_PROJECT),
        ({}, EVERY_PROJECT),
    ],
)
def test_a_project_has_the_section_of_its_id_or_of_the_name_it_was_joined_under(sections, holds) -> None:
    assert policy_of(sections, consent()) == holds


def test_the_id_goes_before_the_name_whatever_that_is() -> None:
    for name in ("+hearts", "hearts"):
        assert policy_of({name: HERS, ID: ITS}, consent(name)) == ITS


@pytest.mark.parametrize(
    ("hours", "clock", "opens_in"),
    [
        ("08:00-18:00", "07:00", 1),
        ("08:00-18:00", "08:00", 0),
        ("08:00-18:00", "17:59", 0),
        ("08:00-18:00", "18:00", 14),
        ("20:00-06:00", "05:59", 0),
        ("20:00-06:00", "06:00", 14),
        ("20:00-06:00", "23:00", 0),
        ("20:00-24:00", "23:59", 0),
        ("20:00-24:00", "00:00", 20),
    ],
)
def test_hours_begin_and_end_by_the_clock_of_the_zone(hours: str, clock: str, opens_in: int) -> None:
    """opens_in: hours."""
    here = datetime.fromisoformat(f"2026-07-01T{clock}").replace(tzinfo=ZoneInfo("Europe/Oslo"))
    policy = ProjectPolicy(hours=hours, time_zone="Europe/Oslo")
    assert policy.opens_in(int(here.timestamp()) * SECOND) == opens_in * 3600 * SECOND


def test_a_project_that_is_named_as_another_ones_id_does_not_get_its_section() -> None:
    assert policy_of({OTHER: HERS}, consent(name=OTHER)) == EVERY_PROJECT


def site(tmp_path: Path, section: str) -> Folder:
    """A site with this at the end of its site.toml."""
    folder = Folder(tmp_path / "site")
    folder.create(Settings(hub="http://hub.example", name="x", data={"train": "a.csv", "test": "b.csv"}), "one-time")
    with (folder.path / "site.toml").open("a") as file:
        file.write(section)
    return folder


def test_a_projects_data_take_the_place_of_the_sites(tmp_path) -> None:
    folder = site(tmp_path, '[project.hearts]\ndata = { train = "hearts.csv" }\n')
    settings = folder.settings()
    hearts, lungs = (policy_of(settings.project, consent(name)) for name in ("hearts", "lungs"))
    assert folder.data(settings, hearts) == {"train": folder.path / "hearts.csv"}
    assert folder.data(settings, lungs) == {"train": folder.path / "a.csv", "test": folder.path / "b.csv"}


def test_what_is_misspelled_in_a_section_is_refused(tmp_path) -> None:
    with pytest.raises(SiteError, match="datas"):
        site(tmp_path, "[project.hearts]\ndatas = {}\n").settings()
