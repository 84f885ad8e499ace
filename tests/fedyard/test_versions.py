"""Hub and site say their versions, and whether they fit."""

from __future__ import annotations

import pytest

from fedyard.wire.version import __version__
from fedyard.wire.versions import HEADER, misfit
from tests.fedyard.rude import Answer, rude_hub
from tests.fedyard.test_client import ME, client_of


@pytest.mark.parametrize(
    ("hub", "site", "fits"),
    [
        ("0.3.1", "0.3.0", True),
        ("0.3.1", "0.3.9", True),
        ("0.3.0", "0.2.7", True),
        ("0.3.0", "0.1.0", False),
        ("0.3.0", "0.4.0", False),
        ("1.0.0", "0.9.0", False),
        ("0.9.0", "1.0.0", False),
        ("1.2.0", "1.1.0", True),
        ("2.1.0", "1.1.0", False),
        ("0.10.0", "0.9.0", True),
        ("0.3.0.dev1", "0.2.0+house", True),
        ("0.3.0", "", True),
        ("", "0.3.0", True),
        ("newest", "0.3.0", True),
        ("0.3.0", "0.1\n", True),
        ("0.3.0", "0", True),
    ],
)
def test_a_hub_knows_its_own_minor_version_and_the_one_before(hub: str, site: str, fits: bool) -> None:
    assert (misfit(hub, site) == "") is fits


def test_what_does_not_fit_says_who_has_to_do_something() -> None:
    assert misfit("0.4.1", "0.2.0") == (
        "versions: the hub runs Fedyard 0.4.1 and the site 0.2.0; that hub knows sites of 0.3 and 0.4: install fedyard "
        "0.4 at the site"
    )
    assert misfit("0.2.0", "0.3.0").endswith("knows sites of 0.1 and 0.2: the hub has to be updated first")
    assert misfit("1.0.0", "1.1.0").endswith("knows sites of 1.0: the hub has to be updated first")


def test_a_client_says_once_that_the_hubs_version_does_not_fit() -> None:
    said: list[str] = []
    with rude_hub(Answer(ME.status, ME.body, {HEADER: "9.0.0"})) as hub:
        client = client_of(hub, waiting=said.append)
        client.me()
        client.me()
    assert (client.hub_version, said) == ("9.0.0", [misfit("9.0.0", __version__)])
    assert client.versions_off() == said[0]


def test_a_version_is_shown_and_no_more() -> None:
    with rude_hub(Answer(ME.status, ME.body, {HEADER: "9" * 65})) as hub:
        client = client_of(hub)
        client.me()
    assert (client.hub_version, client.versions_off()) == ("", None)
