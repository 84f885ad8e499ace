"""Every FEDYARD_ environment variable, read once into one frozen value.

A missing or odd value raises `SettingsError` at start, naming the variable and the remedy.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

THREADS_FOR_OTHERS = 32
"""Threads of the web for calls that neither wait nor carry a large body."""


class SettingsError(Exception):
    """An environment variable is missing or odd."""


def _option(default: Any, about: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"about": about, "low": low, "high": high})


def _artifact_limit(default: int, which: str) -> Any:
    return _option(default, f"largest artifact {which}", 1, 68_719_476_736)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the operator chose. Field `x_y` is the variable FEDYARD_X_Y; docs/operations.md lists them."""

    broker_url: str = _option(
        "embedded:///var/fedyard/journal.sqlite",
        "amqp://user:password@host:port/vhost (of a cluster: every node's, separated by commas), "
        "or embedded:///path of the journal file",
    )
    database_url: str = _option(
        "sqlite:///var/fedyard/store.sqlite", "postgresql://user:password@host:port/name, or sqlite:///path"
    )
    web_host: str = _option("127.0.0.1", "address that the web listens on")
    web_port: int = _option(8080, "port that the web listens on; 0 lets the system choose (embedded only)", 0, 65535)
    web_threads: int = _option(896, "threads of the web process; every waiting poll holds one", 8, 4096)
    waiting_polls: int = _option(
        448, "polls, streams and waits held open at once; beyond it 503 with Retry-After", 4, 4032
    )
    polls_per_caller: int = _option(
        16, "of them for one caller: one more ends its oldest one, which answers with what it has", 1, 4032
    )
    bodies: int = _option(
        128,
        "request bodies that are read at once, as far as there are threads; beyond it 503 with Retry-After",
        4,
        4032,
    )
    writes_per_caller: int = _option(
        32, "writes of one caller under way at once, from before their body is read; beyond it 429", 1, 4032
    )
    writes_per_s: float = _option(
        50.0, "writes of one caller per second, those of ten seconds at once; beyond it 429", 0.1, 1_000_000
    )
    reads_per_s: float = _option(
        200.0, "reads of one caller per second, those of ten seconds at once; beyond it 429", 0.1, 1_000_000
    )
    request_within_s: float = _option(
        45.0,
        "how long a request may be under way, its body and the longest wait (30 s) included, beyond the seconds that "
        "its bytes take at the least rate; then its connection is cut off",
        1,
        3600,
    )
    unread_within_s: float = _option(
        20.0, "how long an answer may lie unread, beyond the seconds that its bytes take at the least rate", 1, 3600
    )
    least_rate_bytes: int = _option(
        16_384, "bytes per second that a client sends or reads at least, once the time before is over", 1, 1_073_741_824
    )
    connections: int = _option(8192, "connections of the web process at once; of one address half of them", 16, 65_536)
    database_pool: int = _option(8, "database connections of the web process", 1, 64)
    decide_at_most: int = _option(500, "commands decided in one transaction", 1, 5000)
    do_at_once: int = _option(4, "commands that one doer carries out at once, each at its own system outside", 1, 64)
    heartbeat_every_s: float = _option(30.0, "how often a site shall call; silent after three of these", 0.2, 3600)
    tick_every_s: float = _option(1.0, "how often the ticker looks for deadlines, silence and expiry", 0.05, 60)
    relay_after_s: float = _option(
        2.0, "age from which the relay publishes an outbox row that its decider left behind", 0.05, 600
    )
    request_limit_bytes: int = _option(1_048_576, "largest request body", 1024, 16_777_216)
    inline_limit_bytes: int = _option(
        262_144, "largest message body, update or model that travels inline", 1024, 1_048_576
    )
    log_limit_bytes: int = _option(16_777_216, "largest log of one site in one run", 65_536, 1_073_741_824)
    message_ttl_s: float = _option(
        604_800.0, "how long a message waits for its recipients if its sender says nothing", 1, 7_776_000
    )
    keep_commands_s: float = _option(
        604_800.0, "how long outcomes of commands are kept: the window of exactly-once", 60, 31_536_000
    )
    keep_inbox_s: float = _option(
        604_800.0,
        "how long acknowledged and expired inbox entries and their bodies are kept, and logs after their run has ended",
        60,
        31_536_000,
    )
    artifacts_url: str = _option(
        "file:///var/fedyard/artifacts",
        "file:///path of a folder that every process of the hub shares, or "
        "s3://bucket/prefix?endpoint=http://host:port&region=name&presign=1 with a login in AWS_ variables",
    )
    head_key_file: str = _option(
        "var/fedyard/head.key",
        "file with the key that signs the heads of the chains of events: one for all web processes of the hub, made at "
        "the first start; keep a copy of it apart from the backups",
    )
    webhook_key_file: str = _option(
        "var/fedyard/webhook.key",
        "file with the key that the secrets of webhooks are derived from: one for all web processes and doers of the "
        "hub, made at the first start; keep a copy of it apart from the backups",
    )
    webhook_allow: str = _option(
        "",
        "hosts and networks (CIDR), separated by commas, to which webhooks may go although they are private, and "
        "without TLS; e.g. hooks.example.org,10.1.0.0/16",
    )
    webhooks_per_owner: int = _option(20, "webhooks of one organisation or project", 1, 1000)
    webhook_failing_s: float = _option(
        432_000.0, "how long a webhook may fail, without one success, until it is disabled", 60, 31_536_000
    )
    artifact_limit_bytes: int = _artifact_limit(17_179_869_184, "of any kind")
    artifact_limit_initial_bytes: int = _artifact_limit(17_179_869_184, "of kind `initial`: files for every member")
    artifact_limit_update_bytes: int = _artifact_limit(17_179_869_184, "of kind `update`: what a seat submits")
    artifact_limit_model_bytes: int = _artifact_limit(17_179_869_184, "of kind `model`: global models")
    artifact_limit_log_bytes: int = _artifact_limit(1_073_741_824, "of kind `log`: logs of a task")
    artifact_limit_result_bytes: int = _artifact_limit(4_294_967_296, "of kind `result`: whatever else sites send")
    project_quota_bytes: int = _option(
        107_374_182_400, "what the artifacts of one project may have together", 1, 1_125_899_906_842_624
    )
    site_quota_bytes: int = _option(
        26_843_545_600,
        "what the artifacts of one participant in one project may have together, of the project's quota",
        1,
        1_125_899_906_842_624,
    )
    unfinished_artifacts: int = _option(
        16, "artifacts of one site in one project that are declared and not stored yet", 1, 10_000
    )
    unfinished_bytes: int = _option(
        17_179_869_184,
        "bytes that these have together; a single one may have as many as its kind",
        1,
        1_125_899_906_842_624,
    )
    backlog_messages: int = _option(
        1000, "messages of one sender that lie unacknowledged in one recipient's inbox", 1, 1_000_000
    )
    backlog_bytes: int = _option(67_108_864, "bytes that the bodies of these have together", 1, 1_099_511_627_776)
    tokens_per_owner: int = _option(100, "tokens of one account or site that are in force at once", 2, 100_000)
    tokens_per_day: int = _option(200, "tokens issued to one account or site within a day", 2, 100_000)
    accounts_per_organisation: int = _option(1000, "accounts of one organisation that are not disabled", 1, 1_000_000)
    enrolments_per_organisation: int = _option(
        1000, "enrolments of one organisation that are neither used nor expired", 1, 1_000_000
    )
    projects_per_coordinator: int = _option(100, "projects of one coordinator that are not archived", 1, 100_000)
    projects_per_day: int = _option(200, "projects created by one coordinator within a day", 1, 100_000)
    live_runs_per_project: int = _option(100, "runs of one project that are queued or running", 1, 10_000)
    keys_per_site: int = _option(1000, "epochs of one site's sealing key", 1, 100_000)
    keys_per_day: int = _option(50, "epochs that one site begins within a day", 1, 100_000)
    keep_artifacts_s: float = _option(
        2_592_000.0,
        "how long artifacts are kept after their run has ended, or without a run since they were stored",
        60,
        315_360_000,
    )
    keep_uploads_s: float = _option(604_800.0, "how long an artifact may take to be uploaded", 60, 7_776_000)
    transfers: int = _option(
        32, "chunks and artifacts on their way through the web at once; beyond it 503 with Retry-After", 1, 4032
    )
    transfers_per_caller: int = _option(8, "of them for one caller; beyond it 429", 1, 4032)
    log_level: str = _option("INFO", "DEBUG, INFO, WARNING or ERROR")

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
            raise SettingsError("FEDYARD_ARTIFACTS_URL must be file:///path or s3://bucket/prefix")
        if not self.head_key_file or "\0" in self.head_key_file:
            raise SettingsError("FEDYARD_HEAD_KEY_FILE names no file; write e.g. var/fedyard/head.key")
        if not self.webhook_key_file or "\0" in self.webhook_key_file:
            raise SettingsError("FEDYARD_WEBHOOK_KEY_FILE names no file; write e.g. var/fedyard/webhook.key")
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingsError(f"FEDYARD_LOG_LEVEL is {self.log_level!r}; it must be DEBUG, INFO, WARNING or ERROR")
        if self.waiting_polls + 4 > self.web_threads:
            raise SettingsError(
                f"FEDYARD_WAITING_POLLS is {self.waiting_polls} and FEDYARD_WEB_THREADS {self.web_threads}: waiting "
                "polls would take every thread; leave at least 4 (better 64) threads for other requests"
            )

    @property
    def embedded(self) -> bool:
        """True if the web and the workers share one process."""
        return self.broker_url.startswith("embedded:")

    @property
    def bodies_at_once(self) -> int:
        """So many that there is a thread left for whoever sends none, when all polls are open as well."""
        return min(self.bodies, max(4, (self.web_threads - self.waiting_polls) * 3 // 4))

    @property
    def refusals_held(self) -> int:
        """Threads for refused calls that are answered late: what polls, bodies, transfers and others leave."""
        taken = self.waiting_polls + self.bodies_at_once + self.transfers + THREADS_FOR_OTHERS
        return max(0, self.web_threads - taken)

    @property
    def silent_after_s(self) -> float:
        """A site is silent when it was last seen longer ago than this."""
        return 3 * self.heartbeat_every_s

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Settings from the environment. Raises `SettingsError` for an unknown or odd variable."""
        options = {f"FEDYARD_{f.name.upper()}": f for f in dataclasses.fields(cls)}
        unknown = sorted(name for name in environment if name.startswith("FEDYARD_") and name not in options)
        if unknown:
            raise SettingsError(f"unknown variable {', '.join(unknown)}; the known ones are {', '.join(options)}")
        chosen: dict[str, Any] = {
            f.name: _parse(name, environment[name], f.metadata, type(f.default))
            for name, f in options.items()
            if name in environment
        }
        return cls(**chosen)


def _parse(name: str, text: str, metadata: Mapping[str, object], kind: Callable[[str], object]) -> object:
    try:
        value = kind(text)
    except ValueError:
        raise SettingsError(f"{name} is {text!r}; it must be a number: {metadata['about']}") from None
    low, high = metadata["low"], metadata["high"]
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and not low <= value <= high:  # type: ignore[operator]
        raise SettingsError(f"{name} is {text}; it must lie between {low} and {high}: {metadata['about']}")
    return value


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
