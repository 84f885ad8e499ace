"""Debian's packages of the servers: where their programs are, and installing what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from devservers.process import ServerError

PACKAGES = ("rabbitmq-server", "postgresql")
_PACKAGE_OF = {"tinyproxy": "tinyproxy-bin"}  # the program without its service


def install_missing(*tools: str) -> None:
    """Install the Debian packages that are missing if we are root. Raises `ServerError` saying what to install.

    tools: programs besides the servers, whose package is named as they are but for `_PACKAGE_OF`. The system's own
    services are kept from starting: we only want the programs.
    """
    missing = _missing(tools)
    if not missing:
        return
    remedy = f"install with: apt-get install --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ServerError(f"{' and '.join(missing)} not found on this machine; {remedy}")
    _apt_get("update")
    with _NoServices():
        _apt_get("install", "--yes", "--no-install-recommends", *missing)
    if _missing(tools):
        raise ServerError(f"installing {' and '.join(missing)} did not help; {remedy}")


def _missing(tools: Sequence[str]) -> list[str]:
    rabbitmq = _newest("/usr/lib/rabbitmq/lib", "rabbitmq_server-*/sbin")
    found = (rabbitmq is not None, _newest("/usr/lib/postgresql", "*/bin") is not None)
    servers = [package for package, there in zip(PACKAGES, found, strict=True) if not there]
    return servers + [_PACKAGE_OF.get(tool, tool) for tool in tools if shutil.which(tool) is None]


def _newest(folder: str, pattern: str) -> Path | None:
    """The folder of the highest version."""

    def version(path: Path) -> list[int]:
        return [int(part) for part in path.parent.name.rpartition("-")[2].split(".") if part.isdigit()]

    return max(Path(folder).glob(pattern), key=version, default=None)


def programs(folder: str, pattern: str, package: str) -> Path:
    """The folder with the newest version's programs. Raises `ServerError` saying what to install."""
    found = _newest(folder, pattern)
    if found is None:
        raise ServerError(f"{package} is not installed; install it: apt-get install --no-install-recommends {package}")
    return found


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", "-qq", *arguments], env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise ServerError(f"apt-get {' '.join(arguments)} failed (exit code {done.returncode}): see its output above")


class _NoServices:
    """Debian's way to keep a package from starting its service: a policy that says 101, if there is none yet."""

    PATH = Path("/usr/sbin/policy-rc.d")

    def __enter__(self) -> None:
        self.ours = not self.PATH.exists()
        if self.ours:
            self.PATH.write_text("#!/bin/sh\nexit 101\n")
            self.PATH.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self.ours:
            self.PATH.unlink(missing_ok=True)
