"""What a data organisation is given that runs Fedota's client image: a line to run it, its configuration, and what an
image with that configuration in it is built from.

The same project gives the same bytes each time, so that an image that is built again has the layers that it had.
"""

from __future__ import annotations

import io
import re
import shlex
import tarfile
from collections.abc import Sequence

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
"""What a name of an image is made of: no option of docker's, and nothing that a Dockerfile or a shell would read."""

_ADDRESS = re.compile(r"[A-Za-z0-9._:\[\]-]+")


def usable(image: str) -> bool:
    """Can a client be run, and an image be built, from what the project calls its client image?"""
    return _IMAGE.fullmatch(image) is not None


def configuration(selector_address: str = "", *, inside: Sequence[str] = (), outside: Sequence[str] = ()) -> str:
    """The client's config.yaml. selector_address: `host:port`; empty while it is not known. One that no YAML would take
    between quotes is none.

    inside, outside: all that there are, seen from their cluster; for who has to choose another one.
    """
    selector_address = selector_address if _ADDRESS.fullmatch(selector_address) else ""
    known = "" if selector_address else "  # not known yet: your project's coordinator tells it"
    lines = (
        f'SELECTOR_ADDRESS: "{selector_address}"{known}',
        f"SELECTOR_ADDRESSES_OUTSIDE: {_listed(outside)}",
        f"SELECTOR_ADDRESSES_INSIDE: {_listed(inside)}",
        'DEVICE_DIR: "../device_data"',
        'DATA_DIR: "data"',
        'FL_INIT_DIR: "fl_init_files"',
        'CHECKPOINT_FILE: "fl_checkpoint"',
        'MODEL_FILE: "model.h5"',
        'WEIGHT_UPDATES_DIR: "weight_updates"',
        'WEIGHT_UPDATES_FILE: "fl_weight_updates"',
        "DATASET_ID: 1",
        "TIMEOUT_IN_SECONDS: 10000",
        "CHUNKER_SIZE: 200",
    )
    return "".join(f"{line}\n" for line in lines)


def _listed(addresses: Sequence[str]) -> str:
    """As a list of YAML."""
    return "[" + ", ".join(f'"{one}"' for one in addresses if _ADDRESS.fullmatch(one)) + "]"


def run_command(image: str, project_id: str) -> str:
    """A line for a shell. The data lie in the folder `device_data`, the configuration beside it."""
    return " ".join(
        (
            "docker run -it --network=host",
            '-v "$PWD/device_data":/device_data -v "$PWD/config.yaml":/client/config.yaml',
            f"--name fedyard-{project_id}",
            shlex.quote(image),
        )
    )


def build_context(image: str, config: str) -> bytes:
    """A tar that `docker build -` takes: the client image, with this configuration in it."""
    files = {"Dockerfile": f"FROM {image}\nCOPY config.yaml /client/config.yaml\n", "config.yaml": config}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in sorted(files.items()):
            content = text.encode()
            about = tarfile.TarInfo(name)  # time 0, user and group 0, mode 0644
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return target.getvalue()
