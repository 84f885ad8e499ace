"""Every FEDYARD_ environment variable, read once into one frozen value.

A missing or odd value raises `SettingsError` at start, naming the variable and the remedy.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

import msgspec
from msgspec import Meta

THREADS_FOR_OTHERS = 32
"""Threads of the web for calls that neither wait nor carry a large body."""
DEFAULT_ARTIFACTS_URL = "file:///var/fedyard/artifacts"
_URLS = ("FEDYARD_BROKER_URL", "FEDYARD_DATABASE_URL", "FEDYARD_ARTIFACTS_URL")
IN_FILES = {f"{name}_FILE": name for name in ("FEDYARD_BROKER_URL", "FEDYARD_DATABASE_URL")}
"""A URL with a password may stand in a file that this variable names: an environment is shown in too many places."""
_URL_REMEDY = "what has a meaning of its own in a URL is written as %40 (@), %2F (/), %3A (:), %5B ([) or %5D (])"


class SettingsError(Exception):
    """An environment variable is missing or odd."""


def _meta(about: str, low: float | None = None, high: float | None = None) -> Meta:
    """What an option is for, and between which bounds it lies."""
    return Meta(ge=low, le=high, description=about)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator chose. Field `x_y` is the variable FEDYARD_X_Y; docs/operations.md lists them."""

    broker_url: Annotated[
        str,
        _meta(
            "amqp://user:password@host:port/vhost (of a cluster: every node's, separated by commas), "
            "or embedded:///path of the journal file"
        ),
    ] = "embedded:///var/fedyard/journal.sqlite"
    database_url: Annotated[str, _meta("postgresql://user:password@host:port/name, or sqlite:///path")] = (
        "sqlite:///var/fedyard/store.sqlite"
    )
    web_host: Annotated[str, _meta("address that the web listens on")] = "127.0.0.1"
    web_port: Annotated[
        int, _meta("port that the web listens on; 0 lets the system choose (embedded only)", 0, 65535)
    ] = 8080
    web_threads: Annotated[int, _meta("threads of the web process; every waiting poll holds one", 8, 4096)] = 896
    waiting_polls: Annotated[
        int, _meta("polls, streams and waits held open at once; beyond it 503 with Retry-After", 4, 4032)
    ] = 448
    polls_per_caller: Annotated[
        int, _meta("of them for one caller: one more ends its oldest one, which answers with what it has", 1, 4032)
    ] = 16
    page: Annotated[
        Literal["on", "off"],
        _meta("off: the hub has no page for people, neither at / nor below /page, and answers programs alone"),
    ] = "on"
    page_polls: Annotated[
        int,
        _meta(
            "polls of open pages held at once, as far as there are threads, in places of their own beside those of "
            "FEDYARD_WAITING_POLLS; beyond it 503 with Retry-After",
            1,
            4032,
        ),
    ] = 64
    bodies: Annotated[
        int,
        _meta(
            "request bodies that are read at once, as far as there are threads; beyond it 503 with Retry-After", 4, 4032
        ),
    ] = 128
    writes_per_caller: Annotated[
        int, _meta("writes of one caller under way at once, from before their body is read; beyond it 429", 1, 4032)
    ] = 32
    writes_per_s: Annotated[
        float, _meta("writes of one caller per second, those of ten seconds at once; beyond it 429", 0.1, 1_000_000)
    ] = 50.0
    reads_per_s: Annotated[
        float, _meta("reads of one caller per second, those of ten seconds at once; beyond it 429", 0.1, 1_000_000)
    ] = 200.0
    request_within_s: Annotated[
        float,
        _meta(
            "how long a request may be under way, its body and the longest wait (30 s) included, beyond the seconds "
            "that its bytes take at the least rate; then its connection is cut off",
            1,
            3600,
        ),
    ] = 45.0
    unread_within_s: Annotated[
        float,
        _meta("how long an answer may lie unread, beyond the seconds that its bytes take at the least rate", 1, 3600),
    ] = 20.0
    least_rate_bytes: Annotated[
        int,
        _meta("bytes per second that a client sends or reads at least, once the time before is over", 1, 1_073_741_824),
    ] = 16_384
    connections: Annotated[
        int, _meta("connections of the web process at once; of one address half of them", 16, 65_536)
    ] = 8192
    database_pool: Annotated[int, _meta("database connections of the web process", 1, 64)] = 8
    decide_at_most: Annotated[int, _meta("commands decided in one transaction", 1, 5000)] = 500
    do_at_once: Annotated[
        int, _meta("commands of one queue, and so of one system outside, that a doer carries out at once", 1, 64)
    ] = 4
    heartbeat_every_s: Annotated[
        float, _meta("how often a site shall call; silent after three of these", 0.2, 3600)
    ] = 30.0
    tick_every_s: Annotated[float, _meta("how often the ticker looks for deadlines, silence and expiry", 0.05, 60)] = (
        1.0
    )
    relay_after_s: Annotated[
        float, _meta("age from which the relay publishes an outbox row that its decider left behind", 0.05, 600)
    ] = 2.0
    request_limit_bytes: Annotated[int, _meta("largest request body", 1024, 16_777_216)] = 1_048_576
    inline_limit_bytes: Annotated[
        int, _meta("largest message body, update or model that travels inline", 1024, 1_048_576)
    ] = 262_144
    log_limit_bytes: Annotated[int, _meta("largest log of one site in one run", 65_536, 1_073_741_824)] = 16_777_216
    message_ttl_s: Annotated[
        float, _meta("how long a message waits for its recipients if its sender says nothing", 1, 7_776_000)
    ] = 604_800.0
    keep_commands_s: Annotated[
        float, _meta("how long outcomes of commands are kept: the window of exactly-once", 60, 31_536_000)
    ] = 604_800.0
    keep_inbox_s: Annotated[
        float,
        _meta(
            "how long acknowledged and expired inbox entries and their bodies are kept, and logs after their "
            "run has ended",
            60,
            31_536_000,
        ),
    ] = 604_800.0
    artifacts_url: Annotated[
        str,
        _meta(
            "file:////path of a folder that every process of the hub shares (absolute but for the default), or "
            "s3://bucket/prefix?endpoint=http://host:port&region=name&presign=1 with a login in AWS_ variables"
        ),
    ] = DEFAULT_ARTIFACTS_URL
    head_key_file: Annotated[
        str,
        _meta(
            "file with the key that signs the heads of the chains of events: one for all web processes of the hub, "
            "made at the first start; keep a copy of it apart from the backups"
        ),
    ] = "var/fedyard/head.key"
    webhook_key_file: Annotated[
        str,
        _meta(
            "file with the key that the secrets of webhooks are derived from: one for all web processes and doers of "
            "the hub, made at the first start; keep a copy of it apart from the backups"
        ),
    ] = "var/fedyard/webhook.key"
    webhook_allow: Annotated[
        str,
        _meta(
            "hosts and networks (CIDR), separated by commas, to which webhooks may go although they are private, and "
            "without TLS; e.g. hooks.example.org,10.1.0.0/16"
        ),
    ] = ""
    webhooks_per_owner: Annotated[int, _meta("webhooks of one organisation or project", 1, 1000)] = 20
    webhook_waiting: Annotated[
        int, _meta("deliveries that wait for one webhook; beyond it what happens is not told to it", 2, 1_000_000)
    ] = 10_000
    webhook_failing_s: Annotated[
        float, _meta("how long a webhook may fail, without one success, until it is disabled", 60, 31_536_000)
    ] = 432_000.0
    workload_key_file: Annotated[
        str,
        _meta(
            "file with the key that says under which id clusters know this hub, and that the tokens of workloads are "
            "derived from: one for all web processes, doers and reconcilers of the hub, made at the first start; keep "
            "a copy of it apart from the backups"
        ),
    ] = "var/fedyard/workload.key"
    secret_key_file: Annotated[
        str,
        _meta(
            "file with the key that projects' secrets are kept under: one for all web processes and doers of the hub, "
            "made at the first start; left out, that key derives from the one of FEDYARD_WORKLOAD_KEY_FILE"
        ),
    ] = ""
    clusters: Annotated[
        str,
        _meta(
            "where workloads may run, as name=place with commas in between; a place is processes:////folder (this "
            "machine's own processes), in-cluster, or kubeconfig:////path?context=name, the last two with rules=/file "
            "of what holds for workloads there (docs/workloads.md); e.g. "
            "hub=in-cluster,edge=kubeconfig:////etc/fedyard/edge.yaml?context=edge"
        ),
    ] = ""
    workload_images: Annotated[
        str,
        _meta(
            "images that clusters of Kubernetes may run, separated by commas, * for any part of a name; besides, every "
            "image that is named by its digest (@sha256:...); e.g. registry.example.org/fed/*"
        ),
    ] = ""
    process_images: Annotated[
        str,
        _meta(
            "what workloads may run as processes: name=what goes before their command, with commas in between; nothing "
            "behind the = lets them name any program; e.g. local/python=/usr/bin/python3"
        ),
    ] = ""
    workload_hub_url: Annotated[
        str,
        _meta(
            "address at which workloads reach the hub; left out, the one that the web listens on, which is of use only "
            "where they run on its machine"
        ),
    ] = ""
    reconcile_every_s: Annotated[
        float, _meta("how often the reconciler compares what is wanted with what a cluster shows", 0.05, 600)
    ] = 5.0
    workloads_per_project: Annotated[int, _meta("workloads of one project that go on at once", 1, 100_000)] = 200
    workloads_per_day: Annotated[int, _meta("workloads that one project begins within a day", 1, 1_000_000)] = 2000
    project_rounds_per_day: Annotated[
        int, _meta("rounds that the own coordinator of one project begins within a day", 1, 1_000_000)
    ] = 10_000
    site_lost_after_s: Annotated[
        float,
        _meta(
            "how long nothing may be heard of a site until what runs there counts as lost; what it says when it is "
            "back counts all the same",
            30,
            604_800,
        ),
    ] = 600.0
    streams: Annotated[
        str,
        _meta(
            "file (TOML) that says which clusters of Kafka the hub listens to (docs/streams.md), or environment, where "
            "the variables of Kafka-ML's back-ends say it all; left out, there are no streams"
        ),
    ] = ""
    kafka_ml_paths: Annotated[
        Literal["off", "on"],
        _meta("on: the web answers the paths of Kafka-ML's back-ends, for its front end and loggers (docs/streams.md)"),
    ] = "off"
    kafka_ml_project: Annotated[
        str, _meta("id of the project that these paths are about; left out: the one that the caller coordinates")
    ] = ""
    keep_quarantine_s: Annotated[
        float,
        _meta(
            "how long records of Kafka that nobody understood, and superseded announcements, are kept",
            60,
            315_360_000,
        ),
    ] = 2_592_000.0
    artifact_limit_bytes: Annotated[int, _meta("largest artifact of any kind", 1, 68_719_476_736)] = 17_179_869_184
    artifact_limit_initial_bytes: Annotated[
        int, _meta("largest artifact of kind `initial`: files for every member", 1, 68_719_476_736)
    ] = 17_179_869_184
    artifact_limit_update_bytes: Annotated[
        int, _meta("largest artifact of kind `update`: what a seat submits", 1, 68_719_476_736)
    ] = 17_179_869_184
    artifact_limit_model_bytes: Annotated[
        int, _meta("largest artifact of kind `model`: global models", 1, 68_719_476_736)
    ] = 17_179_869_184
    artifact_limit_log_bytes: Annotated[
        int, _meta("largest artifact of kind `log`: logs of a task", 1, 68_719_476_736)
    ] = 1_073_741_824
    artifact_limit_result_bytes: Annotated[
        int, _meta("largest artifact of kind `result`: whatever else sites send", 1, 68_719_476_736)
    ] = 4_294_967_296
    project_quota_bytes: Annotated[
        int, _meta("what the artifacts of one project may have together", 1, 1_125_899_906_842_624)
    ] = 107_374_182_400
    site_quota_bytes: Annotated[
        int,
        _meta(
            "what the artifacts of one participant in one project may have together, of the project's quota",
            1,
            1_125_899_906_842_624,
        ),
    ] = 26_843_545_600
    unfinished_artifacts: Annotated[
        int, _meta("artifacts of one site in one project that are declared and not stored yet", 1, 10_000)
    ] = 16
    unfinished_bytes: Annotated[
        int,
        _meta("bytes that these have together; a single one may have as many as its kind", 1, 1_125_899_906_842_624),
    ] = 17_179_869_184
    backlog_messages: Annotated[
        int, _meta("messages of one sender that lie unacknowledged in one recipient's inbox", 1, 1_000_000)
    ] = 1000
    backlog_bytes: Annotated[int, _meta("bytes that the bodies of these have together", 1, 1_099_511_627_776)] = (
        67_108_864
    )
    tokens_per_owner: Annotated[int, _meta("tokens of one account or site that are in force at once", 2, 100_000)] = 100
    tokens_per_day: Annotated[int, _meta("tokens issued to one account or site within a day", 2, 100_000)] = 200
    sessions_per_account: Annotated[int, _meta("sessions of one account that are open at once", 1, 10_000)] = 50
    session_h: Annotated[float, _meta("hours after which a session ends", 0.1, 168)] = 12.0
    session_idle_min: Annotated[float, _meta("minutes without a page after which a session ends", 1, 10_080)] = 30.0
    accounts_per_organisation: Annotated[
        int, _meta("accounts of one organisation that are not disabled", 1, 1_000_000)
    ] = 1000
    enrolments_per_organisation: Annotated[
        int, _meta("enrolments of one organisation that are neither used nor expired", 1, 1_000_000)
    ] = 1000
    projects_per_coordinator: Annotated[int, _meta("projects of one coordinator that are not archived", 1, 100_000)] = (
        100
    )
    projects_per_day: Annotated[int, _meta("projects created by one coordinator within a day", 1, 100_000)] = 200
    live_runs_per_project: Annotated[int, _meta("runs of one project that are queued or running", 1, 10_000)] = 100
    keys_per_site: Annotated[int, _meta("epochs of one site's sealing key", 1, 100_000)] = 1000
    keys_per_day: Annotated[int, _meta("epochs that one site begins within a day", 1, 100_000)] = 50
    keep_artifacts_s: Annotated[
        float,
        _meta(
            "how long artifacts are kept after their run has ended, or without a run since they were stored",
            60,
            315_360_000,
        ),
    ] = 2_592_000.0
    keep_uploads_s: Annotated[float, _meta("how long an artifact may take to be uploaded", 60, 7_776_000)] = 604_800.0
    transfers: Annotated[
        int, _meta("chunks and artifacts on their way through the web at once; beyond it 503 with Retry-After", 1, 4032)
    ] = 32
    transfers_per_caller: Annotated[int, _meta("of them for one caller; beyond it 429", 1, 4032)] = 8
    log_format: Annotated[
        Literal["auto", "json", "text"], _meta("json, text (for people), or auto: text at a terminal, else json")
    ] = "auto"
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _meta("DEBUG, INFO, WARNING or ERROR")] = "INFO"

    def __post_init__(self) -> None:
        broker, database = urlsplit(self.broker_url).scheme, urlsplit(self.database_url).scheme
        if broker not in ("amqp", "amqps", "embedded"):
            raise SettingsError(
                f"FEDYARD_BROKER_URL starts with {broker!r}; it must be amqp://, amqps:// or embedded:///path"
            )
        nodes = [urlsplit(url) for url in self.broker_url.split(",")]
        if broker != "embedded" and len({(node.scheme, node.path) for node in nodes}) > 1:
            raise SettingsError(
                "FEDYARD_BROKER_URL names several nodes that differ in scheme or vhost: write the whole "
                "amqp://user:password@host:port/vhost for each, with commas in between; a comma in a password is %2C"
            )
        if database not in ("postgresql", "sqlite"):
            raise SettingsError(
                f"FEDYARD_DATABASE_URL starts with {database!r}; it must be postgresql:// or sqlite:///path"
            )
        if broker != "embedded" and database == "sqlite":
            raise SettingsError(
                "FEDYARD_BROKER_URL names RabbitMQ but FEDYARD_DATABASE_URL an SQLite file, which several "
                "processes would share: use a postgresql:// URL"
            )
        if urlsplit(self.artifacts_url).scheme not in ("file", "s3"):
            raise SettingsError("FEDYARD_ARTIFACTS_URL must be file:////path or s3://bucket/prefix")
        if self.artifacts_url.startswith("file:"):
            self._check_folder()
        if not self.head_key_file or "\0" in self.head_key_file:
            raise SettingsError("FEDYARD_HEAD_KEY_FILE names no file; write e.g. var/fedyard/head.key")
        if not self.webhook_key_file or "\0" in self.webhook_key_file:
            raise SettingsError("FEDYARD_WEBHOOK_KEY_FILE names no file; write e.g. var/fedyard/webhook.key")
        if not self.workload_key_file or "\0" in self.workload_key_file:
            raise SettingsError("FEDYARD_WORKLOAD_KEY_FILE names no file; write e.g. var/fedyard/workload.key")
        self.cluster_places()
        self.process_programs()
        if self.waiting_polls + 4 > self.web_threads:
            raise SettingsError(
                f"FEDYARD_WAITING_POLLS is {self.waiting_polls} and FEDYARD_WEB_THREADS {self.web_threads}: waiting "
                "polls would take every thread; leave at least 4 (better 64) threads for other requests"
            )

    def _check_folder(self) -> None:
        """Several processes share it: where each was started must not say which folder that is."""
        url = urlsplit(self.artifacts_url)
        if url.netloc:
            raise SettingsError(
                f"FEDYARD_ARTIFACTS_URL is {self.artifacts_url}, which names a machine, {url.netloc!r}; an absolute "
                f"path has four slashes before it: file:////{url.netloc}{url.path}"
            )
        path = Path(url_path(self.artifacts_url))
        if not path.is_absolute() and self.artifacts_url != DEFAULT_ARTIFACTS_URL:
            raise SettingsError(
                f"FEDYARD_ARTIFACTS_URL is {self.artifacts_url}, a path below whatever folder a process is started in; "
                f"for /{path} write four slashes: {path_url('file', Path('/') / path)}"
            )

    @property
    def embedded(self) -> bool:
        """True if the web and the workers share one process."""
        return self.broker_url.startswith("embedded:")

    def cluster_places(self) -> dict[str, str]:
        """By name, the place of each cluster. Raises `SettingsError`."""
        places: dict[str, str] = {}
        for name, place in _pairs("FEDYARD_CLUSTERS", self.clusters):
            if not CLUSTER_NAME.fullmatch(name):
                raise SettingsError(f"FEDYARD_CLUSTERS has a cluster {name!r}: small letters, digits and dashes")
            if name in places:
                raise SettingsError(f"FEDYARD_CLUSTERS names {name!r} twice")
            if place.partition("?")[0] != "in-cluster" and not place.startswith(("processes:///", "kubeconfig:///")):
                raise SettingsError(
                    f"FEDYARD_CLUSTERS: cluster {name!r} is none of processes:////folder, in-cluster and "
                    "kubeconfig:////path?context=name"
                )
            if place.startswith("kubeconfig:///") and "context=" not in urlsplit(place).query:
                raise SettingsError(
                    f"FEDYARD_CLUSTERS: cluster {name!r} names no context of its kubeconfig: add ?context=name"
                )
            places[name] = place
        return places

    def process_programs(self) -> dict[str, str]:
        """By name of an image, what goes before a command. Raises `SettingsError`."""
        return dict(_pairs("FEDYARD_PROCESS_IMAGES", self.process_images, empty=True))

    @property
    def bodies_at_once(self) -> int:
        """So many that there is a thread left for whoever sends none, when all polls are open as well."""
        left = self.web_threads - self.waiting_polls - self.page_polls_at_once
        return min(self.bodies, max(4, left * 3 // 4))

    @property
    def page_polls_at_once(self) -> int:
        """So many that most of the threads which the polls of sites leave are left for everybody else's calls."""
        return min(self.page_polls, max(1, (self.web_threads - self.waiting_polls) // 4))

    @property
    def refusals_held(self) -> int:
        """Threads for refused calls that are answered late: what polls, bodies, transfers and others leave."""
        polls = self.waiting_polls + self.page_polls_at_once
        taken = polls + self.bodies_at_once + self.transfers + THREADS_FOR_OTHERS
        return max(0, self.web_threads - taken)

    @property
    def callback_url(self) -> str:
        """Where workloads call back."""
        return self.workload_hub_url or f"http://{self.web_host}:{self.web_port}"

    @property
    def silent_after_s(self) -> float:
        """A site is silent when it was last seen longer ago than this."""
        return 3 * self.heartbeat_every_s

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Settings from the environment. Raises `SettingsError` for an unknown or odd variable."""
        known, environment = options(), _read_from_files(environment)
        unknown = sorted(name for name in environment if name.startswith("FEDYARD_") and name not in known)
        if unknown:
            raise SettingsError(f"unknown variable {', '.join(unknown)}; the known ones are {', '.join(known)}")
        said = {option.field: environment[name] for name, option in known.items() if name in environment}
        try:
            return msgspec.convert(said, cls, strict=False)
        except msgspec.ValidationError as error:
            found = re.search(r"`\$\.(\w+)`$", str(error))
            if found is None:  # what is wrong with a URL may say its password
                raise SettingsError(f"one of {', '.join(_URLS)} is no URL; {_URL_REMEDY}") from None
            name = _variable(found[1])
            raise SettingsError(f"{name} is {environment[name]!r}; it must be {known[name]}") from None


CLUSTER_NAME = re.compile("[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def _pairs(variable: str, text: str, *, empty: bool = False) -> list[tuple[str, str]]:
    """`a=b,c=d` as pairs. Raises `SettingsError`."""
    pairs = []
    for one in filter(None, map(str.strip, text.split(","))):
        name, said, value = one.partition("=")
        if not said or not name or not (value or empty):
            raise SettingsError(f"{variable} has {one!r}: write name=value, with commas in between")
        pairs.append((name, value))
    return pairs


def _read_from_files(environment: Mapping[str, str]) -> Mapping[str, str]:
    """With the URLs that stand in files. Raises `SettingsError`, which never shows what is in one."""
    said = dict(environment)
    for variable, name in IN_FILES.items():
        path = said.pop(variable, None)
        if path is None:
            continue
        if name in said:
            raise SettingsError(f"{variable} and {name} are both set: say it once")
        try:
            said[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise SettingsError(
                f"{variable} is {path!r}, which cannot be read ({why}): it must name a file that has {name} in it"
            ) from None
    return said


class Option(msgspec.Struct, frozen=True):
    """A variable: the field that it sets, of what kind and between which bounds, its default and its meaning."""

    field: str
    kind: str
    meta: Meta
    default: object

    def __str__(self) -> str:
        """What its value must be, and what it is for."""
        bounds = "" if self.meta.ge is None else f" between {self.meta.ge} and {self.meta.le}"
        return self.about if self.about == self.kind else f"{self.kind}{bounds}: {self.about}"

    @property
    def about(self) -> str:
        return self.meta.description or ""


@functools.cache
def options() -> dict[str, Option]:
    """By variable."""
    hints = get_type_hints(Settings, include_extras=True)
    found = {}
    for field in msgspec.structs.fields(Settings):
        kind, meta = get_args(hints[field.name])
        found[_variable(field.name)] = Option(field.name, _said(kind), meta, field.default)
    return found


def _variable(field: str) -> str:
    return f"FEDYARD_{field.upper()}"


def _said(kind: Any) -> str:
    """A kind of value, for people."""
    if kind in _KINDS:
        return _KINDS[kind]
    *most, last = get_args(kind)
    return f"{', '.join(most)} or {last}"


_KINDS = {int: "a whole number", float: "a number", str: "a text"}


def url_path(url: str) -> str:
    """The file that an embedded:///, sqlite:/// or file:/// URL names; three slashes relative, four absolute.

    Percent-encoded as `path_url` writes it. Raises `SettingsError` where `#` or `?` would cut the path in silence.
    """
    if "#" in url or "?" in url:
        raise SettingsError(f"{url} has a # or ? in its path: write %23 or %3F")
    path = os.fsdecode(unquote_to_bytes(urlsplit(url).path.removeprefix("/")))
    if not path or "\0" in path:
        raise SettingsError(f"{url} names no file; write e.g. sqlite:///var/fedyard/store.sqlite")
    return path


def path_url(scheme: str, path: Path) -> str:
    """The URL of a file, whatever its path has in it: `url_path` gives that path back."""
    return f"{scheme}:///{quote_from_bytes(os.fsencode(path))}"
