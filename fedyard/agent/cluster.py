"""A site's own cluster: `[cluster]` in site.toml, what it allows, and the cluster that this opens.

The site's people decide what runs there. Without `[cluster]` nothing does; with it, what it names: images, and projects
among those that the site serves. Whatever a hub says, nothing else is started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fedyard.agent.consents import Consents, means
from fedyard.cluster.port import Cluster, Reason, Refused, Spec
from fedyard.wire.shown import shown
from fedyard.wire.types import Slug

MAX_SECRET = 32_768
"""Characters of a secret, as of any variable."""
ALL = "*"
"""In the place of a project: each that the site serves."""
_Words = Annotated[list[Annotated[str, Meta(min_length=1, max_length=4096)]], Meta(max_length=100)]
_Name = Annotated[str, Meta(min_length=1, max_length=512)]


class SecretFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret of this site's own. file: what is in it, without a line's end at the end, relative to the site's folder.
    projects: whose workloads may get it, as `[cluster]` names them."""

    file: Annotated[str, Meta(min_length=1, max_length=4096)]
    projects: Annotated[list[_Name], Meta(min_length=1)]


class ClusterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[cluster]`. kubeconfig, rules: files, relative to the site's folder.

    images: on Kubernetes patterns of names (`registry.example.org/fed/*@sha256:*`); as processes a name and the words
    that go before a command. projects: names or ids, or "*". max_cpu_millis, max_memory_bytes: of all that runs, all
    replicas together. stop_with_agent: nothing runs while the agent does not. logs: what a workload writes may be read
    by the project's coordinator: its tail, and all of it while somebody follows it. keep_places: what an
    archived project has here stays, its volume too, until the site's people remove it. secrets: by the name that a
    workload calls them.
    """

    kind: Literal["processes", "kubernetes"]
    kubeconfig: str = ""
    context: str = ""
    in_cluster: bool = False
    rules: str = ""
    images: dict[_Name, _Words] | list[_Name] = []
    projects: list[_Name] = []
    max_cpu_millis: Annotated[int, Meta(ge=1)] | None = None
    max_memory_bytes: Annotated[int, Meta(ge=1)] | None = None
    max_workloads: Annotated[int, Meta(ge=1, le=1000)] | None = None
    stop_with_agent: bool = False
    logs: bool = True
    keep_places: bool = False
    secrets: dict[Slug, SecretFile] = {}

    def __post_init__(self) -> None:
        """Raises `ValueError` with what to write."""
        tabular = isinstance(self.images, dict)
        if self.kind == "processes":
            if self.kubeconfig or self.context or self.in_cluster or self.rules:
                raise ValueError('kubeconfig, context, in_cluster and rules are for kind = "kubernetes"')
            if self.images and not tabular:
                raise ValueError('images of processes are a table: write [cluster.images], "local/sh" = ["/bin/sh"]')
            return
        if tabular:
            raise ValueError('images of Kubernetes are a list of names: write images = ["registry.example/name*"]')
        if self.in_cluster == bool(self.kubeconfig) or bool(self.kubeconfig) != bool(self.context):
            raise ValueError('write in_cluster = true, or kubeconfig = "file" and context = "the name of one in it"')


class Fits(msgspec.Struct, frozen=True):
    """What is taken of a site's limits."""

    count: int = 0
    cpu_millis: int = 0
    memory_bytes: int = 0

    def plus(self, spec: Spec, *, replicas: int | None = None) -> Fits:
        """replicas: as many as there are, where that is not as many as are wanted."""
        replicas = spec.replicas if replicas is None else replicas
        return self.more(spec, replicas if spec.kind == "service" else 1, count=1)

    def more(self, spec: Spec, replicas: int, *, count: int = 0) -> Fits:
        """With so many more replicas."""
        return Fits(
            self.count + count,
            self.cpu_millis + replicas * spec.resources.cpu_millis,
            self.memory_bytes + replicas * spec.resources.memory_bytes,
        )


def open_cluster(settings: ClusterSettings, folder: Path) -> Cluster:
    """folder: the site's. Nothing is asked of the cluster yet. Raises `ClusterError`, and `OSError`."""
    if settings.kind == "processes":
        from fedyard.cluster.local.launching import Image  # noqa: PLC0415 - needs Linux, and few sites have it
        from fedyard.cluster.processes import Processes  # noqa: PLC0415 - as above

        words = settings.images if isinstance(settings.images, dict) else {}
        images = {name: Image(prefix=prefix) for name, prefix in words.items()}
        return Processes(processes_of(folder), images=images)
    from fedyard.cluster import kubernetes_cluster  # noqa: PLC0415 - heavy, and only some sites have it

    rules = kubernetes_cluster.read_rules(folder / settings.rules) if settings.rules else None
    if settings.in_cluster:
        return kubernetes_cluster.open_in_cluster(rules)
    return kubernetes_cluster.open_kubeconfig(str(folder / settings.kubeconfig), settings.context, rules)


def processes_of(folder: Path) -> Path:
    """Where a site's processes are kept."""
    return folder / "workloads" / "processes"


def secret_values(settings: ClusterSettings, folder: Path, names: Mapping[str, str]) -> dict[str, str]:
    """By variable; what may not be given was refused before. folder: the site's. Raises `Refused`, which may pass."""
    values = {}
    for variable, name in names.items():
        try:
            text = (folder / settings.secrets[name].file).read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            fact = f"this site cannot read the file of its secret {name}: its people have to mend that"
            raise Refused(Reason.SECRET_MISSING, fact) from None
        values[variable] = text.removesuffix("\n").removesuffix("\r")
        if "\0" in values[variable] or len(values[variable]) > MAX_SECRET:
            fact = (
                f"this site's secret {name} is no text of {MAX_SECRET} characters at most: its people have to mend that"
            )
            raise Refused(Reason.SECRET_MISSING, fact)
    return values


def refusal(
    settings: ClusterSettings | None, consents: Consents, spec: Spec, secrets: Iterable[str] = ()
) -> Refused | None:
    """Why this site does not run it, with what its people would have to write; None: it does. secrets: of its names."""
    if settings is None:
        return _not_allowed(
            "this site runs no workloads; to run some, its people write [cluster] into site.toml, with kind, images "
            "and projects (docs/sites.md)"
        )
    consent = consents.all().get(spec.place)
    if consent is None or not consent.live:
        return _not_allowed(f"this site does not serve project {spec.place}: its people would have to join it")
    if not any(said == ALL or means(said, consent.project_id, consent.name) for said in settings.projects):
        return _not_allowed(
            f"this site runs nothing for project {spec.place}; to do so, its people write "
            f'projects = ["{spec.place}"] below [cluster] in site.toml'
        )
    if not _names(settings.images, spec.image):
        return Refused(
            Reason.IMAGE_UNUSABLE,
            f"this site does not allow image {shown(spec.image)}; to do so, its people name it in images of [cluster] "
            "in site.toml",
        )
    for name in sorted(set(secrets)):
        given = settings.secrets.get(name)
        if given is None or not any(
            said == ALL or means(said, consent.project_id, consent.name) for said in given.projects
        ):
            return _not_allowed(
                f"this site gives project {spec.place} no secret {shown(name)}; to do so, its people write "
                f'{shown(name)} = {{file = "...", projects = ["{spec.place}"]}} below [cluster.secrets] in site.toml'
            )
    alone = over(settings, Fits().plus(spec))
    return None if alone is None else _not_allowed(f"{alone}, which is more than it may ever have here")


def over(settings: ClusterSettings, taken: Fits) -> str | None:
    """Which of the site's limits that would be above, in words."""
    for name, asked, most in (
        ("max_workloads", taken.count, settings.max_workloads),
        ("max_cpu_millis", taken.cpu_millis, settings.max_cpu_millis),
        ("max_memory_bytes", taken.memory_bytes, settings.max_memory_bytes),
    ):
        if most is not None and asked > most:
            return f"with it {asked} would be taken of the {most} that {name} of [cluster] in this site's site.toml has"
    return None


def _names(images: dict[str, list[str]] | Sequence[str], image: str) -> bool:
    if isinstance(images, dict):
        return image in images
    return any(fnmatchcase(image, pattern) for pattern in images)


def _not_allowed(fact: str) -> Refused:
    return Refused(Reason.NOT_ALLOWED, fact)
