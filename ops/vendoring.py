"""`make vendor`: fetch what others made and our pages load, compare it with what is pinned, and put it in its place.

ops/vendored.toml pins each package by version and by the digest of the whole, and each file of it by its own. npm
fetches, from whatever registry it is set up with; nothing that comes in a package is run.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
PINNED = ROOT / "ops" / "vendored.toml"
FETCHED_WITHIN_S = 120
_TOP = "package"
"""What every package of npm's has its files in."""


class VendoringError(Exception):
    """Something cannot be fetched, or is not what was pinned."""


class VendoredFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """source: in the package; to: here."""

    source: str
    to: str
    sha256: str


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"files": "file"}):
    """integrity: `sha512-` and base64, of the packed package, as npm writes it."""

    name: str
    version: str
    licence: str
    integrity: str
    files: list[VendoredFile]


class _Pinned(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"packages": "package"}):
    packages: list[Package]


def pinned() -> list[Package]:
    """What is pinned."""
    return msgspec.convert(tomllib.loads(PINNED.read_text(encoding="utf-8")), _Pinned).packages


def contents(package: Package, packed: Path) -> dict[str, bytes]:
    """By place, what a packed package has for it. Raises `VendoringError` if anything is not what was pinned."""
    whole = packed.read_bytes()
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(whole).digest()).decode()}"
    if integrity != package.integrity:
        raise VendoringError(f"{package.name} {package.version} is {integrity}; pinned is {package.integrity}")
    found = {}
    with tarfile.open(packed) as archive:
        for file in package.files:
            member = archive.extractfile(f"{_TOP}/{file.source}")
            content = b"" if member is None else member.read()
            digest = hashlib.sha256(content).hexdigest()
            if digest != file.sha256:
                raise VendoringError(f"{file.source} of {package.name} has SHA-256 {digest}; pinned is {file.sha256}")
            found[file.to] = content
    return found


def fetch(package: Package, folder: Path) -> Path:
    """The packed package, fetched into a folder. Raises `VendoringError`."""
    wanted = f"{package.name}@{package.version}"
    command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), wanted]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=FETCHED_WITHIN_S)
    except FileNotFoundError:
        raise VendoringError("make vendor needs npm (apt-get install npm)") from None
    except subprocess.TimeoutExpired:
        raise VendoringError(f"npm could not fetch {wanted} within {FETCHED_WITHIN_S} s") from None
    except subprocess.CalledProcessError as error:
        raise VendoringError(f"npm could not fetch {wanted}: {str(error.stderr).strip()}") from None
    return next(folder.glob("*.tgz"))


def main() -> int:
    try:
        for package in pinned():
            with tempfile.TemporaryDirectory() as folder:
                for place, content in contents(package, fetch(package, Path(folder))).items():
                    (ROOT / place).write_bytes(content)
            print(f"{package.name} {package.version} ({package.licence})")
    except VendoringError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
