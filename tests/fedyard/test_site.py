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


_TOP = 'hub = "http://h"\nname = "n"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{_TOP}nmae = "x"', "line 3: 'nmae' is not known in the top of the file; is it name?"),
        (f"{_TOP}[project.x]\nmin_rows = 1\n\n[project.y]\n# so\nmin_row = 1", "line 8: 'min_row' is not known in "),
        (f"{_TOP}[project.x]\nmin_rows = 1\n[project.y]\nmin_rows = '1'", "line 6: project.y.min_rows: write a whole "),
        (f"{_TOP}[project.y]\nask = 'always'", 'line 4: project.y.ask: write one of "changes", "never", "runs"'),
        (f"{_TOP}[project.y]\nhours = '20-06'", "line 3: project.y: hours '20-06': write when they begin and end"),
        (f"{_TOP}[project.y]\nallow = ['a:B@sha256:ab']", "line 4: project.y.allow[0]: write package.module:Class or"),
        (f"{_TOP}[project.y]\nmetrics = [\n'loss',\n3,\n]", "line 4: project.y.metrics[1]: write text in quotes"),
        (f"{_TOP}[project.breast.cancer]\nmin_rows = 1", 'in quotes: [project."breast.cancer"]'),
        (
            f"{_TOP}[project.y.privacy]\nclip = 1\nnoise = 1\nepsilon = 0",
            "line 6: project.y.privacy.epsilon: write a n",
        ),
        (f"{_TOP}[[join]]\nproject = 'a'\ncoordinator = 'unknown'\n[[join]]\nproject = 'b'", "line 6: join[1].coordin"),
        (
            f"{_TOP}[cluster]\nkind = 'processes'\n[cluster.secrets]\ndb = {{file = 'f'}}",
            "line 6: cluster.secrets.db.p",
        ),
        (f"[data]\n{_TOP}", "hub is missing: it stands in [data]; move it above the first [...]"),
        (f"{_TOP}[data]\ntrain = train.csv", "line 4, column 9): text stands in quotes"),
        (f'{_TOP}[data]\ntrain = "C:\\data"', "write a path with \\ in single quotes"),
        (f"{_TOP}[data]\na = 'a'\n[data]", "line 5, column 6): put all lines of a section under one [...]"),
        (f"{_TOP}[data]\ntrain = 'postgresql://u:p@h/d'", "line 4: the URL of data 'train' has a password"),
        ('name = "n"\nhub = "https://h:99999"', "line 2: hub names no host"),
        ('name = "n"\nhub = "https://h h"', "line 2: hub names no host"),
        ('name = "n"\nhub = "https://h:port"', "line 2: hub names no host"),
    ],
)
def test_the_line_and_the_remedy_are_said(tmp_path, text: str, said: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(SiteError) as told:
        Folder(tmp_path).settings()
    assert said in str(told.value)


def test_other_encodings_are_read_or_named(tmp_path) -> None:
    (tmp_path / "site.toml").write_bytes(f"\ufeff{_TOP}".encode())
    assert Folder(tmp_path).settings().name == "n"
    (tmp_path / "site.toml").write_bytes(f'{_TOP}description = "H\u00f8y"'.encode("latin-1"))
    with pytest.raises(SiteError, match="line 3: it is not in UTF-8"):
        Folder(tmp_path).settings()


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
