from __future__ import annotations

import re
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from fedyard.agent.consents import Join
from fedyard.agent.site import Folder, Settings, SiteError
from fedyard.client.errors import Refused, Unavailable
from fedyard.tasks.settings import Tasks
from tests.fedyard.rude import DROP, Answer, rude_hub

SITE = "10000000-0000-4000-8000-000000000000"
CREATED = Answer(201, {"id": SITE, "token_id": "t", "token": None})
USED = Answer(401, {"type": "/problems/unauthorized", "title": "No", "status": 401, "detail": "used"})
ME = Answer(body={"kind": "site", "id": SITE, "name": "north"})


def folder(tmp_path, hub: str = "http://127.0.0.1:1") -> Folder:
    made = Folder(tmp_path / "north")
    join = [Join(project="p", coordinator="unknown")]
    made.create(Settings(hub=hub, name="north", data={"train": "t.csv"}, join=join), "one-time")
    return made


def test_settings_come_back_as_they_were_written(tmp_path) -> None:
    odd = Settings(
        hub="https://hub.example",
        name='nor"th\\',
        description="a\nb\x7f #",
        join=[
            Join(project='"p"', coordinator="unknown", notes="n"),
            Join(project="q", coordinator="0b6f6f0e-3a0f-4e39-9d0e-3b0f3a1f6f0e"),
        ],
    )
    made = Folder(tmp_path / "x")
    made.create(odd, "one-time")
    assert made.settings() == odd


def test_secrets_are_private(tmp_path) -> None:
    made = folder(tmp_path)
    made.token()
    made.identity()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made.path.iterdir()}
    assert modes == dict.fromkeys(("site.toml", "enrolment.token", "token", "identity.key"), 0o600)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o700


def test_a_folder_holds_one_site(tmp_path) -> None:
    folder(tmp_path)
    with pytest.raises(SiteError, match="holds a site already"):
        folder(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hub = 3",
        'hub = "http://h"\nname = "n"\nunknown = 1',
        'hub = "ftp://h"\nname = "n"',
        'hub = "http://user:password@h"\nname = "n"',
        'hub = "http://h"\nname = "n"\n[tasks]\nallow = ["os"]',
        'hub = "http://h"\nname = "n"\n[join]\nprojects = ["p"]',
        'hub = "http://h"\nname = "n"\n[[join]]\nproject = "p"',
        'hub = "http://h"\nname = "n"\n[[join]]\nproject = "p"\ncoordinator = "somebody"',
        "[",
    ],
)
def test_an_odd_configuration_is_named(tmp_path, text: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(SiteError, match=r"site\.toml"):
        Folder(tmp_path).settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('hub = "127.0.0.1:8080"\nname = "n"', "hub: write the hub's address with http:// or https://"),
        ('hub = "http://user:password@h"\nname = "n"', "and no user in it"),
        ('hub = "http://h"\nname = "n"\n[tasks]\nallow = ["a.B"]', "tasks.allow[0]: write package.module:Class, e.g."),
        (
            'hub = "http://h"\nname = "n"\ntransfer_hosts = ["s3.example", "https://x"]',
            "transfer_hosts[1]: write host or",
        ),
    ],
)
def test_nobody_has_to_read_a_pattern(tmp_path, text: str, said: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(SiteError) as told:
        Folder(tmp_path).settings()
    assert said in str(told.value)
    assert not {"regex", "password"} & set(re.split(r"\W", str(told.value)))


def test_only_dotted_classes_can_be_allowed() -> None:
    assert Tasks(allow=["my.tasks:Mine"]).allow == ["my.tasks:Mine"]


def test_a_lost_answer_is_harmless(tmp_path) -> None:
    with rude_hub(DROP, CREATED) as hub:
        made = folder(tmp_path, hub.url)
        assert made.enrol(made.settings()) == SITE
    first, second = hub.seen
    assert (first.body, first.headers["idempotency-key"]) == (second.body, second.headers["idempotency-key"])
    assert made.token().encode() not in first.body
    assert not (made.path / "enrolment.token").exists()


def test_enrolling_again_after_a_crash_finds_itself_enrolled(tmp_path) -> None:
    """The first request was accepted, its answer lost, and the enrolment counts as used by now."""
    with rude_hub(USED, ME) as hub:
        made = folder(tmp_path, hub.url)
        token = made.token()
        assert made.enrol(made.settings()) == SITE
        assert made.site_id() == SITE
    assert hub.seen[0].headers["authorization"] == "Bearer one-time"
    assert hub.seen[1].headers["authorization"] == f"Bearer {token}"


def test_an_enrolment_that_is_not_ours_is_refused(tmp_path) -> None:
    with rude_hub(USED) as hub:
        made = folder(tmp_path, hub.url)
        with pytest.raises(Refused):
            made.enrol(made.settings())
    assert (made.path / "enrolment.token").exists()


def test_an_enrolled_site_asks_nobody(tmp_path) -> None:
    made = folder(tmp_path)
    (made.path / "site.id").write_text(SITE)
    assert made.enrol(made.settings()) == SITE


def test_no_token_is_a_clear_error(tmp_path) -> None:
    made = folder(tmp_path)
    (made.path / "enrolment.token").unlink()
    with pytest.raises(SiteError, match="enrolment token"):
        made.enrol(made.settings())
    with pytest.raises(SiteError, match="not enrolled"):
        made.site_id()
    (made.path / "site.toml").unlink()
    with pytest.raises(SiteError, match="holds no site: name its folder with --folder"):
        made.site_id()


def test_the_identity_stays_the_same(tmp_path) -> None:
    made = folder(tmp_path)
    assert made.identity().public_key() == Folder(made.path).identity().public_key()
    assert made.token() == Folder(made.path).token()


def test_unavailable_is_told_as_such(tmp_path) -> None:
    closing = threading.Event()
    closing.set()
    with rude_hub(DROP) as hub:
        made = folder(tmp_path, hub.url)
        with pytest.raises(Unavailable):
            made.enrol(made.settings(), closing)


def certificate() -> bytes:
    """A certificate of an authority of its own, PEM."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=36_500))
    return (
        made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
        .public_bytes(serialization.Encoding.PEM)
    )


def test_certificates_are_relative_to_the_folder_wherever_the_program_starts(tmp_path) -> None:
    made = folder(tmp_path)
    (made.path / "ca.pem").write_bytes(certificate())
    toml = made.path / "site.toml"
    toml.write_text('ca_file = "ca.pem"\n' + toml.read_text())
    assert made.settings().ca_file == str(made.path / "ca.pem")


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_certificates_that_are_none_are_named(tmp_path, content: bytes | None) -> None:
    made = folder(tmp_path)
    if content is not None:
        (made.path / "ca.pem").write_bytes(content)
    toml = made.path / "site.toml"
    toml.write_text('ca_file = "ca.pem"\n' + toml.read_text())
    with pytest.raises(SiteError, match=r"ca\.pem cannot be used"):
        made.settings()
