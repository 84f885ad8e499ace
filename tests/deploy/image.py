"""`make test-image`: a base of a bootstrapped Debian, the image on it by buildah, and a hub that runs in it.

No registry of images is needed: the base comes from a mirror of Debian's packages. What pip has to trust here, it has
to trust there: PIP_CERT is handed to the build. The hub runs as the image's user, on a root that is mounted
read-only, with the two folders to write to that docs/deploying.md names; it is asked, makes an account, and ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from devservers.ports import free_port
from tests.deploy.checkout import ROOT, USER

SUITE = os.environ.get("SUITE", "bookworm")
MIRROR = os.environ.get("MIRROR", "http://deb.debian.org/debian")
BASE = "localhost/fedyard-test-base"
IMAGE = "localhost/fedyard-test-hub"
READY_WITHIN_S = 120.0

ENTER = """
set -e
root=$1; user=$2; shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o "uid=$user,gid=$user,mode=700" tmpfs "$root/var/lib/fedyard"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
mkdir -m 1777 "$root/dev/shm"
for one in null zero random urandom; do : > "$root/dev/$one"; mount --bind "/dev/$one" "$root/dev/$one"; done
exec chroot --userspec="$user:$user" "$root" "$@"
"""
"""In a mount namespace of its own: the image as a container has it, then the program in its place."""


def main() -> int:
    """The exit code: 0 if it was built and ran, 2 if this machine cannot."""
    lacking = [tool for tool in ("buildah", "debootstrap", "unshare", "chroot") if not shutil.which(tool)]
    if lacking or os.geteuid() != 0:
        sys.stderr.write(
            f"make test-image needs root, and {', '.join(lacking) or 'nothing else'}: see docs/deploying.md\n"
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="fedyard-image-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:  # noqa: S108 - a gigabyte, which is no matter for a memory disk
        try:
            build(Path(folder))
            run(Path(folder))
        finally:
            with suppress(subprocess.CalledProcessError):
                buildah(Path(folder), "rm", "--all")
                buildah(Path(folder), "rmi", "--all", "--force")
    print("the image was built, and a hub ran in it")
    return 0


def buildah(folder: Path, *arguments: str | Path) -> str:
    """What it prints; its store lies in the folder."""
    store = ["--root", folder / "store", "--runroot", folder / "run"]
    return subprocess.run(
        ["buildah", *store, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def build(folder: Path) -> None:
    root = folder / "root"
    packages = "ca-certificates,python3,python3-venv"
    print(f"bootstrapping Debian {SUITE} from {MIRROR}", flush=True)
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", SUITE, root, MIRROR],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    base = buildah(folder, "from", "scratch")
    buildah(folder, "add", "--quiet", base, root, "/")
    buildah(folder, "commit", "--quiet", base, BASE)
    shutil.rmtree(root)
    trust = []
    if certificates := os.environ.get("PIP_CERT"):
        settings = folder / "pip.conf"
        settings.write_text("[global]\ncert = /run/certificates.pem\n")
        trust = ["--volume", f"{settings}:/etc/pip.conf:ro", "--volume", f"{certificates}:/run/certificates.pem:ro"]
    print("building the image", flush=True)
    buildah(
        folder,
        *("build", "--quiet", "--isolation", "chroot", "--pull-never", "--timestamp", "0"),
        *("--build-arg", f"BASE={BASE}", *trust, "--file", "Containerfile", "--tag", IMAGE, "."),
    )


def run(folder: Path) -> None:
    said = json.loads(buildah(folder, "inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
    assert said["User"] == f"{USER}:{USER}"
    root = buildah(folder, "mount", buildah(folder, "from", "--pull-never", IMAGE))
    assert not of_a_time(Path(root) / "opt" / "fedyard"), (
        "bytecode that goes by its source's time is made anew at every start"
    )
    port = free_port(18080)
    hub = subprocess.Popen(inside(root, said, "-m", "ops.cli.main", "embedded", "--data", DATA, "--port", str(port)))
    try:
        ready(port, hub)
        in_its_place = [
            "nsenter",
            "--target",
            str(hub.pid),
            "--mount",
            "--root",
            f"--setuid={USER}",
            f"--setgid={USER}",
        ]
        made = [*said["Entrypoint"], "-m", "ops.cli.main", "account", "create", "--data", DATA, "--name", "operator"]
        variables = ["env", "-i", *said["Env"]]
        subprocess.run(
            [*in_its_place, *variables, *made, "--organisation", "Network", "--role", "admin"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        hub.send_signal(signal.SIGTERM)
        assert hub.wait(timeout=60) == 0
    finally:
        hub.kill()
        hub.wait()
    roles = (
        "import actors.running, web.serving.wsgi, k8s.clusters, fedyard.cluster.kubernetes_cluster, fedyard.cli.main"
    )
    subprocess.run(inside(root, said, "-c", roles), check=True)


def of_a_time(folder: Path) -> list[Path]:
    """Bytecode that is no good once the sources' times are set: its second word says what it goes by (PEP 552)."""
    return [path for path in folder.rglob("*.pyc") if path.read_bytes()[4:8] != b"\x01\0\0\0"]


DATA = "/var/lib/fedyard/hub"


def inside(root: str, said: dict[str, list[str]], *arguments: str) -> list[str]:
    """The image's program with these arguments, as a container would run it."""
    program = ["env", "-i", *said["Env"], *said["Entrypoint"], *arguments]
    return ["unshare", "--mount", "sh", "-c", ENTER, "sh", root, str(USER), *program]


def ready(port: int, hub: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_WITHIN_S
    while True:
        with suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
            return
        assert hub.poll() is None, f"it ended with {hub.returncode}"
        assert time.monotonic() < end, "it did not become ready"
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
