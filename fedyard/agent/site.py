"""A site's folder: its configuration, its secrets and how it becomes known to the hub.

    site.toml          what people edit
    enrolment.token    one-time, deleted once the site is enrolled          (0600)
    token              the site's bearer token, drawn here                  (0600)
    identity.key       its Ed25519 private key, raw, base64                 (0600)
    keys/              its sealing keys, by epoch (keys.py)                 (0600)
    pins.json          the identities of other sites (trust.py)
    hub-pin.json       the key that the hub signs heads of chains with (trust.py)
    consents.json      the projects that it serves (consents.py)
    site.id            its id, written when the hub has answered
    state.sqlite       the agent's memory (state/)
    privacy.json       how many updates left with noise (state/release_record.py)  (0600)
    health.json        how the agent is (health.py)                         (0600)
    models/, runs/     global models received; private folders of tasks
    kept/              what hooks keep for later runs (keeping.py)
    failures/          why hooks failed, a file for each task run (failures.py)

Everything is written before it is used on the network, so a lost answer is harmless: the same token, key and
idempotency key are shown again.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import ssl
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedyard.agent.cluster import ClusterSettings
from fedyard.agent.consents import Consents, Join
from fedyard.agent.lines import LogSettings
from fedyard.agent.misspelled import line_of, said_of_settings, said_of_text
from fedyard.agent.policy import EVERY_PROJECT, ProjectName, ProjectPolicy
from fedyard.agent.room import Messages
from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unavailable
from fedyard.clock import draw_secret
from fedyard.sealed.keys import Keyring, enrolment_proof
from fedyard.sealed.trust import Trust, TrustSettings
from fedyard.tasks.settings import Tasks
from fedyard.tasks.sources import Reading, Source, has_password, is_url
from fedyard.wire.durable import write_whole

_HOST = r"^[a-z0-9._-]{1,253}(:[0-9]{1,5})?(?!\n)$"
_MADE = frozenset({"site.toml", "enrolment.token", "token", "identity.key"})
"""What a site has before it is enrolled."""


class SiteError(Exception):
    """The site's folder cannot be used as it is; the sentence says what to do."""


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """rotate_every_days: how long a sealing key is the newest. grace_days: how long an older one still opens."""

    rotate_every_days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 30.0
    grace_days: Annotated[float, msgspec.Meta(gt=0, le=365)] = 7.0


class Coordinator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for the projects that this site coordinates. min_updates: no model is made of fewer updates."""

    min_updates: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 2


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """site.toml. data (name -> file) and ca_file: relative to the folder. rejoin: take part again after being dropped.

    join: projects that this site serves, each with its coordinator. cluster: without it no workload runs here.
    transfer_hosts: `host` or `host:port` beside the hub that payloads may be carried to and from. allow_plain_http:
    where the site's tokens and payloads may go by plain http; False: nowhere. proxy: None: as the environment says.
    project: by name or id, what holds for it. reading: by the name of the data, how they are to be read.
    """

    hub: Annotated[str, msgspec.Meta(pattern="^https?://[^@]+$")]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    description: str = ""
    ca_file: str | None = None
    proxy: str | None = None
    transfer_hosts: list[Annotated[str, msgspec.Meta(pattern=_HOST)]] = []
    allow_plain_http: bool | list[Annotated[str, msgspec.Meta(pattern=_HOST)]] = False
    rejoin: bool = True
    join: Annotated[list[Join], msgspec.Meta(max_length=200)] = []
    data: dict[str, str] = {}
    reading: Annotated[dict[str, Reading], msgspec.Meta(max_length=200)] = {}
    tasks: Tasks = Tasks()
    trust: TrustSettings = TrustSettings()
    keys: Keys = Keys()
    coordinator: Coordinator = Coordinator()
    messages: Messages = Messages()
    log: LogSettings = LogSettings()
    cluster: ClusterSettings | None = None
    project: Annotated[dict[ProjectName, ProjectPolicy], msgspec.Meta(max_length=200)] = {}

    @property
    def plain_hosts(self) -> list[str]:
        return self.allow_plain_http if isinstance(self.allow_plain_http, list) else []


_PLAIN_TWICE = (
    'allow_plain_http = true is not enough: name the machine a second time, as "host" or "host:port", e.g. '
    'allow_plain_http = ["hub.example:8080"]'
)
_TEMPLATE = """# A Fedyard site. docs/sites.md explains every line.
hub = {hub}
name = {name}
description = {description}
{ca_file}
{proxy}
{plain}
# transfer_hosts = ["s3.example"] # where payloads may be carried beside the hub, where it keeps them in a bucket
rejoin = true                    # take part again after having been dropped

# [[join]]                       # a project to join as soon as it exists; nothing else is served
# project = "breast-cancer"      # its id, or its name, which is the hub's word
# coordinator = "unknown"        # its site id, its fingerprint (twelve words), or "unknown": the first one is believed
# notes = ""                     # shown to the coordinator
{joins}
[data]                           # never leaves this site; paths relative to this folder
{data}
[tasks]
allow = {allow}                       # "package.module:Class" that a project may run here, besides the built-in models
threads = 1                      # cores for numerical libraries
at_once = 2                      # task runs that compute at the same time
stop_within_s = 5.0              # how long a stopped task may go on before its process is ended
content_limit_bytes = 1073741824 # what an update or a model may have

[trust]
pin = "first_sight"              # or "fingerprint": nothing for or from a site whose fingerprint nobody has compared
fingerprints = {{}}                # "name or id of a site" = "its twelve words, or hex digits"
# hub = ""                       # the same of the key that the hub signs its chains of events with

[keys]
rotate_every_days = 30           # a new sealing key
grace_days = 7                   # how long the one before it still opens what was sealed to it

[coordinator]                    # for the projects that this site coordinates
min_updates = {min_updates}                  # make no model of fewer updates; 1 where a task is for a single site

# [project.breast-cancer]        # what holds for one project, by its id or name ("*": for all others); docs/policy.md
# data = {{train = "other.csv"}}   # what its tasks read, in place of those above

# [log]                          # of the agent, to standard error
# level = "info"                 # or "warning", "error": no lines below it
# format = "json"                # or "text"

# [cluster]                      # where workloads run that others want to have run here; without it none does
# kind = "processes"             # of this machine, with the agent's rights; or "kubernetes"
# projects = ["*"]               # those served by this site that may: ids, names, or all
# max_workloads = 4              # and max_cpu_millis, max_memory_bytes: of all that run at once
# [cluster.images]               # what may be asked for, and the words that go before a command
# "local/python" = ["/usr/bin/python3"]
"""


def client_to(
    settings: Settings,
    token: str,
    *,
    give_up_s: float = 60.0,
    closing: threading.Event | None = None,
    waiting: Callable[[str], None] = lambda _: None,
) -> Client:
    """Whoever has `token`, asking the hub as site.toml says. Raises `Unprotected` if that would show the token."""
    return Client(
        settings.hub,
        token,
        give_up_s=give_up_s,
        closing=closing,
        ca_file=settings.ca_file,
        transfer_hosts=settings.transfer_hosts,
        allow_plain_http=settings.plain_hosts,
        proxy=settings.proxy,
        waiting=waiting,
    )


class Folder:
    """The files of one site."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @contextmanager
    def made_whole(self) -> Iterator[None]:
        """What the block makes here stays if the block ends well; else it goes, so that the folder can be used again.

        It stays, too, where the hub has not answered: it may have taken the enrolment token, and knows this key then.
        """
        was_there = self.path.is_dir()
        before = {name for name in _MADE if (self.path / name).exists()}
        try:
            yield
        except Unavailable as error:
            raise Unavailable(
                f"{error}. {self.path} is whole: `fedyard site run` enrols it there. If the address is wrong, correct "
                "`hub` in its site.toml first"
            ) from None
        except Exception:
            for name in _MADE - before:
                (self.path / name).unlink(missing_ok=True)
            if not was_there:
                with suppress(OSError):  # somebody has put something there
                    self.path.rmdir()
            raise

    def create(self, settings: Settings, enrolment_token: str) -> None:
        """Write site.toml and the enrolment token. Raises `SiteError` if there is a site here already."""
        if (self.path / "site.toml").exists():
            remedy = "choose another folder"
            if self._read("site.id") is None:
                remedy = "it is not enrolled yet: `fedyard site run` does that, at the hub that its site.toml names"
            raise SiteError(f"{self.path} holds a site already: {remedy}")
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)
        self._write("enrolment.token", enrolment_token)
        self._write("site.toml", _toml(settings))

    def settings(self) -> Settings:
        """site.toml, checked. Raises `SiteError`."""
        path = self.path / "site.toml"
        try:
            text = path.read_text("utf-8-sig")
            found = tomllib.loads(text)
        except FileNotFoundError:
            raise SiteError(f"{path} does not exist: create a site with `fedyard site init`") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SiteError(f"{path}: {said_of_text(error)}") from None
        try:
            if isinstance(found.get("join"), dict):
                raise SiteError(
                    f"{_place(path, text, 'join')}: [join] has become a list that names coordinators: for each project "
                    'write [[join]], project = "its name", coordinator = "its site id, its twelve words, or unknown"'
                )
            settings = msgspec.convert(found, Settings)
        except msgspec.ValidationError as error:
            raise SiteError(f"{path}: {said_of_settings(error, Settings, found, text)}") from None
        if settings.allow_plain_http is True:
            raise SiteError(f"{_place(path, text, 'allow_plain_http')}: {_PLAIN_TWICE}")
        if not _names_host(settings.hub):
            raise SiteError(f"{_place(path, text, 'hub')}: hub names no host; write e.g. https://hub.example:8443")
        _check_data(path, text, settings)
        if settings.ca_file is None:
            return settings
        file = self.certificates(Path(settings.ca_file), f"{_place(path, text, 'ca_file')}: ca_file")
        return msgspec.structs.replace(settings, ca_file=file)

    def certificates(self, file: Path, said: str) -> str:
        """Where they are, whatever folder the program was started from; said: by which word they were named.

        Raises `SiteError` if they are none.
        """
        path = self.path / file
        try:
            ssl.create_default_context(cafile=path)
        except OSError as error:
            raise SiteError(
                f"{said} {path} cannot be used ({error.strerror or 'no certificates'}): "
                "name a PEM file, relative to the site's folder"
            ) from None
        return str(path)

    def data(self, settings: Settings, policy: ProjectPolicy = EVERY_PROJECT) -> dict[str, Path]:
        """The site's data files and folders by name; policy: those that a task of this project may read."""
        where = policy.data_of(settings.data)
        return {name: self.path / file for name, file in where.items() if not is_url(file)}

    def sources(
        self,
        settings: Settings,
        policy: ProjectPolicy = EVERY_PROJECT,
        environment: Mapping[str, str] = os.environ,
    ) -> dict[str, Source]:
        """All of the data by name, databases too, with what is needed to read them. environment: the agent's."""
        where = policy.data_of(settings.data)
        how = {name: settings.reading.get(name, Reading()) for name in where}
        return {name: self._source(name, place, how[name], environment) for name, place in where.items()}

    def _database(self, where: str) -> str:
        """A file of SQLite lies relative to this folder, as other files do."""
        scheme, mark, file = where.partition(":///")
        if scheme.lower().partition("+")[0] != "sqlite" or not mark or file.startswith("/"):
            return where
        return f"{scheme}:///{(self.path / file).absolute()}"

    def _source(self, name: str, where: str, reading: Reading, environment: Mapping[str, str]) -> Source:
        """One of the data; what is wrong with a database's password is told to the task that asks for the data."""
        if not is_url(where):
            return Source(str(self.path / where), reading)
        place, password, fault = self._database(where), "", ""
        if reading.password_env:
            password = environment.get(reading.password_env, "")
            if not password:
                fault = f"data {name}: the agent's environment has no {reading.password_env}, named by password_env"
        elif reading.password_file:
            try:
                password = (self.path / reading.password_file).read_text().rstrip("\r\n")
            except (OSError, UnicodeDecodeError):
                fault = f"data {name}: the password_file of its database cannot be read"
        return Source(place, reading, password, fault)

    def site_id(self) -> str:
        """Raises `SiteError` if the site is not enrolled yet."""
        found = self._read("site.id")
        if found is None and not (self.path / "site.toml").exists():
            raise SiteError(
                f"{self.path} holds no site: name its folder with --folder, or make one: `fedyard site init`"
            )
        if found is None:
            raise SiteError(f"{self.path} is not enrolled yet: `fedyard site run` does it")
        return found

    def token(self) -> str:
        """The site's bearer token, drawn at the first call."""
        return self._read("token") or self._write("token", draw_secret())

    def identity(self) -> Ed25519PrivateKey:
        """The site's identity key, drawn at the first call."""
        text = self._read("identity.key")
        if text is None:
            raw = Ed25519PrivateKey.generate().private_bytes_raw()
            text = self._write("identity.key", base64.b64encode(raw).decode())
        try:
            return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text))
        except ValueError:
            raise SiteError(f"{self.path / 'identity.key'} is damaged: restore it from a backup") from None

    def keyring(self) -> Keyring:
        """The site's sealing keys. Raises `SiteError` if the site is not enrolled yet."""
        return Keyring(self.path, self.site_id(), self.identity())

    def trust(self, settings: Settings) -> Trust:
        """Whom the site trusts. Raises `SiteError` if site.toml names a fingerprint that is none."""
        try:
            return Trust(self.path, settings.trust)
        except ValueError as error:
            raise SiteError(f"{self.path / 'site.toml'}: {error}") from None

    def consents(self) -> Consents:
        """The projects that the site serves."""
        return Consents(self.path)

    def enrol(
        self,
        settings: Settings,
        closing: threading.Event | None = None,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> str:
        """The site's id; makes the site known to the hub if it is not yet. May be repeated whatever happened before.

        Raises `SiteError` without an enrolment token, `Refused`, and `Unavailable`, at once if `closing` is set.
        """
        known = self._read("site.id")
        if known is not None:
            return known
        token, identity = self.token(), self.identity()
        enrolment = self._read("enrolment.token")
        if enrolment is None:
            raise SiteError(f"{self.path} has no enrolment token: ask the hub's admin for one")
        hashed = hashlib.sha256(token.encode()).hexdigest()
        public = base64.b64encode(identity.public_key().public_bytes_raw()).decode()
        proof = base64.b64encode(enrolment_proof(identity, enrolment, hashed, settings.name)).decode()
        asking = client_to(settings, enrolment, closing=closing, waiting=waiting)
        site_id: str | None
        try:
            site_id = asking.enrol(
                settings.name, public, proof, hashed, settings.description, key=f"enrol-{hashed[:32]}"
            ).id
        except Refused:
            site_id = self._enrolled_before(client_to(settings, token, closing=closing))
            if site_id is None:
                raise
        self._write("site.id", site_id)
        (self.path / "enrolment.token").unlink(missing_ok=True)
        return site_id

    @staticmethod
    def _enrolled_before(client: Client) -> str | None:
        """The id, if an earlier request was accepted whose answer was lost, and its token works."""
        try:
            return client.me().id
        except Refused:
            return None

    def _read(self, name: str) -> str | None:
        try:
            return (self.path / name).read_text("utf-8").strip() or None
        except FileNotFoundError:
            return None

    def _write(self, name: str, text: str) -> str:
        write_whole(self.path / name, text.encode())
        return text


def _toml(settings: Settings) -> str:
    return _TEMPLATE.format(
        hub=_quoted(settings.hub),
        name=_quoted(settings.name),
        description=_quoted(settings.description),
        joins="".join(
            f"\n[[join]]\nproject = {_quoted(join.project)}\ncoordinator = {_quoted(join.coordinator)}\n"
            f"notes = {_quoted(join.notes)}\n"
            for join in settings.join
        ),
        ca_file=_line("ca_file", settings.ca_file, "ca.pem", "certificates to trust, instead of the system's"),
        proxy=_line("proxy", settings.proxy, "http://proxy.example:3128", 'or "none"; without: as HTTPS_PROXY says'),
        plain=_line("allow_plain_http", settings.plain_hosts or None, ["hub.example"], "tokens in the clear there"),
        allow=f"[{', '.join(map(_quoted, settings.tasks.allow))}]",
        min_updates=settings.coordinator.min_updates,
        data="".join(f"{_quoted(name)} = {_quoted(file)}\n" for name, file in settings.data.items()),
    )


def _place(path: Path, text: str, *keys: str) -> str:
    """Which value of which file is meant."""
    line = line_of(text, keys)
    return f"{path}: line {line}" if line else str(path)


def _names_host(hub: str) -> bool:
    try:
        parts = urlsplit(hub)
        return bool(parts.hostname and parts.port != 0 and not re.search(r"\s", parts.netloc))
    except ValueError:  # a port that is none
        return False


def _check_data(path: Path, text: str, settings: Settings) -> None:
    """Raises `SiteError` for a password in the URL of a database: the file is shown, copied and sent to others."""
    sections: dict[tuple[str, ...], dict[str, str]] = {("data",): settings.data}
    for name, policy in settings.project.items():
        sections["project", name, "data"] = policy.data or {}
    for keys, where in sections.items():
        for name, place in where.items():
            if has_password(place):
                raise SiteError(
                    f"{_place(path, text, *keys, name)}: the URL of data {name!r} has a password in it: leave it out "
                    f"there, and name where it stands with password_env or password_file in [reading.{name}]"
                )


def _line(key: str, value: str | list[str] | None, example: str | list[str], about: str) -> str:
    """A setting, or, as a comment, what it could look like."""
    shown = example if value is None else value
    written = _quoted(shown) if isinstance(shown, str) else f"[{', '.join(map(_quoted, shown))}]"
    return f"{'# ' if value is None else ''}{f'{key} = {written}':<{30 if value is None else 32}} # {about}"


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's once surrogates are ruled out."""
    return re.sub("\x7f", "\\\\u007f", msgspec.json.encode(text).decode())
