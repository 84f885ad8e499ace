"""What an attempt's shim is told: the program and its environment, and what goes before, beside and after it."""

from __future__ import annotations

import hashlib
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fedyard.cluster.conventions import INPUTS, INPUTS_FOLDER, OUTPUTS, OUTPUTS_FOLDER
from fedyard.cluster.local import folder as files
from fedyard.cluster.local.attempts import CHANGES, VOLUMES, Record
from fedyard.cluster.port import Spec, helpers_own, kept_back, steps_of

_CODE = str(Path(__file__).parents[3])
"""Where Fedyard is, for its own programs."""
_UNPACK = """PYTHONPATH={path} "$0" -m fedyard.cluster.fetching "$1" || exit 1
shift; unset {token}; exec "$@" """
_ENCODER = msgspec.json.Encoder(order="deterministic")


class Image(msgspec.Struct, frozen=True):
    """What stands for an image here. prefix: goes before a command. environment: below the Spec's own."""

    prefix: list[str] = []
    environment: dict[str, str] = {}


def record_of(spec: Spec, image: Image, content: str, uid: str) -> Record:
    return Record(
        owner=spec.owner,
        place=spec.place,
        id=spec.id,
        attempt=spec.attempt,
        kind=spec.kind,
        uid=uid,
        content=content,
        replicas=spec.replicas if spec.kind == "service" else 1,
        grace_s=spec.grace_s,
        created_s=time.time(),
        name=spec.name,
        labels=spec.labels,
        image=spec.image,
        command=[*image.prefix, *spec.command, *spec.arguments],
        stable=spec.stable,
        exact=spec.exact,
    )


def launch_of(
    spec: Spec, record: Record, image: Image, *, root: Path, work: Path, path: str, log_bytes: int
) -> dict[str, object]:
    """What the shim has to know. root: of the cluster. work: the attempt's own folder. path: where programs are."""
    own = {"PATH": path, "LANG": "C.UTF-8", "HOME": str(work), "TMPDIR": str(work)}
    volume, seen = root / VOLUMES / spec.place, {}
    if spec.volume is not None:
        seen[spec.volume.variable] = str(volume)
    for variable, address in spec.dials.items():
        name, _, port = address.partition(":")
        seen[variable] = f"{_host_of(spec.place, name)}:{port}"
    if spec.files is not None:
        seen |= {INPUTS: str(work / INPUTS_FOLDER), OUTPUTS: str(work / OUTPUTS_FOLDER)}
    theirs = kept_back(spec)
    secrets = {key: value for key, value in spec.secrets.items() if key not in theirs}
    asked = {**image.environment, **seen, **spec.environment, **secrets}
    argv = record.command
    token = None if spec.volume is None else spec.volume.files_token
    if token in spec.secrets:  # until its program begins
        asked[token] = spec.secrets[token]
        script = _UNPACK.format(path=shlex.quote(_CODE), token=token)
        argv = ["/bin/sh", "-c", script, sys.executable, str(volume), *argv]
    return {
        "argv": argv,
        "environment": {**own, **asked, files.MARK: record.uid},
        "steps": _steps(spec, work, {**own, files.MARK: record.uid}),
        "kind": spec.kind,
        "port": spec.port,
        "replicas": record.replicas,
        "memory_bytes": spec.resources.memory_bytes,
        "deadline_s": spec.deadline_s if spec.kind == "job" else None,
        "grace_s": spec.grace_s,
        "log_bytes": log_bytes,
        "changes": str(root / CHANGES),
        "stable": {"name": spec.name, "host": _host_of(spec.place, spec.name)} if spec.stable else None,
        "companion": _beside(spec, record.uid, own, volume),
        "made": [(str(volume / one.path), one.mode, one.file) for one in spec.volume.made] if spec.volume else [],
    }


def _beside(spec: Spec, uid: str, own: Mapping[str, str], volume: Path) -> dict[str, object] | None:
    """What runs beside each replica, in this very Python; its folder and its port it gets from the shim."""
    companion = spec.companion
    if companion is None:
        return None
    paths = [str(volume / path) for path in companion.paths]
    secrets = {key: spec.secrets[key] for key in companion.secrets if key in spec.secrets}
    told = {**helpers_own(spec), **secrets, "PYTHONPATH": _CODE, files.MARK: uid}
    return {
        "argv": [sys.executable, "-P", "-m", companion.module, *paths],
        "environment": {**own, **told},
        "address": companion.address,
    }


def _steps(spec: Spec, work: Path, own: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Of a job with files: what goes before its program, and after it. By this process's own Python, which has Fedyard;
    -P: what the program has left in its folder is none of our modules."""
    if spec.files is None:
        return {}
    token = {spec.files.token: spec.secrets[spec.files.token]}
    environment = {**own, **helpers_own(spec), **token, "PYTHONPATH": _CODE}
    asked = [sys.executable, "-P", "-m", "fedyard.cluster.files"]
    fetched, stored = steps_of(spec.files)
    steps: dict[str, dict[str, object]] = {}
    if fetched:
        argv = [*asked, "fetch", str(work / INPUTS_FOLDER), *fetched]
        steps[INPUTS_FOLDER] = {"argv": argv, "environment": environment}
    if stored:
        argv = [*asked, "store", str(work / OUTPUTS_FOLDER), *stored]
        steps[OUTPUTS_FOLDER] = {"argv": argv, "environment": environment}
    return steps


def _host_of(place: str, name: str) -> str:
    """An address of this machine's own by which a stable service is dialled: its port is its own there."""
    first, second, third = hashlib.sha256(f"{place} {name}".encode()).digest()[:3]
    return f"127.{first}.{second}.{1 + third % 254}"


def content_of(spec: Spec) -> str:
    return hashlib.sha256(_ENCODER.encode(msgspec.structs.replace(spec, replicas=0))).hexdigest()
