"""Which files a confined process may reach: the system's programs, Python and its packages, and what is its own."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from fedyard.tasks.confined import Confinement
from fedyard.tasks.confined.landlock import DEVICE, LIST, READ, READ_FILE, WRITE, WRITE_FILE

Rule = tuple[str, int]

_SYSTEM: Final = (
    *("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/nix/store", "/gnu/store"),
    *("/sys/devices", "/sys/class", "/sys/bus", "/sys/fs/cgroup", "/sys/kernel/mm"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version"),
    *("/proc/filesystems", "/proc/devices", "/proc/sys/kernel", "/proc/sys/vm", "/proc/driver/nvidia"),
)
_OF_ETC: Final = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "localtime", "timezone", "passwd", "group"),
    *("nsswitch.conf", "host.conf", "hosts", "resolv.conf", "gai.conf", "services", "protocols", "os-release"),
    *("ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "pki/ca-trust", "pki/tls/openssl.cnf", "crypto-policies"),
    *("ca-certificates", "mime.types", "locale.conf", "default/locale", "alternatives", "fonts", "OpenCL", "R"),
)
"""Not the whole folder: programs keep passwords there."""
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_ACCELERATORS: Final = ("nvidia*", "nvidia-caps/*", "kfd", "dri/*", "accel/*")
_SHARED: Final = "/dev/shm"  # noqa: S108 - the one place for memory that processes share by name
_MODULES: Final = frozenset({".py", ".pyc", ".so", ".pyd", ".pth"})
_SITES: Final = "site.toml"
"""A folder with it is a site's, with its secrets; no such folder is read because of what lies around it."""
_OWN: Final = frozenset({"keys", "models", "messages", "runs", "kept", "workloads"})


def rules_of(confinement: Confinement) -> Iterator[Rule]:
    """Paths with rights, for `landlock.restrict`."""
    for path in _SYSTEM:
        yield path, READ
    # Who runs, and of itself what is open. Workers look after each other's memory by what everybody may read there;
    # what the kernel shows to who may trace a process (environment, memory, open files) it shows in neither case.
    yield "/proc", READ if confinement.workers else LIST
    for name in _OF_ETC:
        yield f"/etc/{name}", READ
    for name in _DEVICES:
        yield f"/dev/{name}", READ_FILE | WRITE_FILE
    for pattern in _ACCELERATORS:
        for device in Path("/dev").glob(pattern):
            yield str(device), DEVICE
    site = Path(confinement.site)
    if confinement.workers and not site.is_relative_to(_SHARED):
        yield _SHARED, WRITE
    for root in _pythons():
        yield from _tree(root, site)
    yield confinement.site, LIST
    for path in (confinement.site, *sys.path):
        if confinement.modules or Path(path).resolve() != site.resolve():
            yield from _modules(Path(path), site)
    for path in confinement.read:
        yield from _tree(Path(path).resolve(), site)
    for path in confinement.write:
        yield path, WRITE


def _pythons() -> set[Path]:
    """Where the interpreter lies, its library and its packages."""
    named = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *sysconfig.get_paths().values()}
    return {Path(name).resolve() for name in named if name} - {Path("/")}


def _tree(root: Path, site: Path) -> Iterator[Rule]:
    """All below `root`; where the site's folder lies there, all that lies beside it, but no folder of another site."""
    if not site.is_relative_to(root):
        yield str(root), READ
        return
    yield str(root), LIST
    for child in _listed(root):
        if not _leads_to(child, site):
            if not _is_sites(child):
                yield str(child), READ
        elif child != site and not child.is_symlink():
            yield from _tree(child, site)


def _leads_to(path: Path, site: Path) -> bool:
    return site.is_relative_to(path.resolve())


def _modules(folder: Path, site: Path) -> Iterator[Rule]:
    """Of a folder on Python's path, modules and packages alone: data, tokens and other folders may lie beside them."""
    yield str(folder), READ if folder.suffix == ".zip" else LIST
    for child in _listed(folder):
        if child.name in _OWN or _is_sites(child) or _leads_to(child, site):
            continue
        if child.suffix in _MODULES or child.name == "__pycache__" or _has_modules(child):
            yield str(child), READ


def _has_modules(folder: Path) -> bool:
    return any(child.suffix in _MODULES for child in _listed(folder))


def _is_sites(folder: Path) -> bool:
    with suppress(OSError):  # not for this user
        return (folder / _SITES).exists()
    return False


def _listed(folder: Path) -> Iterable[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())
    return ()
