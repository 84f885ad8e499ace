"""Fedota's client: `python3 -m demo.fedota.client`, in a folder with the `config.yaml` that joining a project gives.

It takes part in one round: checks in, gets the initial files, trains a linear model on the rows of
`<DEVICE_DIR>/<DATA_DIR>/train/*.csv` (numbers, the label last, DATASET_ID's fifth of them), and sends its update.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.fedota import messages as m
from demo.fedota.files import Arrays, packed, unpacked
from demo.fedota.serving import dialled, say

BATCH = 64
EPOCHS, RATE = 5, 0.1
FIFTHS = 5
SENT_AWAY = 3
"""The exit code of who came too late."""


def read_config(text: str) -> dict[str, str]:
    """As far as this file has YAML: one `KEY: value` a line, quoted or not, perhaps with a comment."""
    found = {}
    for line in text.splitlines():
        key, colon, rest = line.partition(":")
        if colon and not line.startswith("#"):
            value = rest.strip()
            found[key.strip()] = value[1:].partition('"')[0] if value[:1] == '"' else value.partition(" #")[0].strip()
    return found


def take_part(folder: Path) -> int:
    """The exit code."""
    config = read_config((folder / "config.yaml").read_text())
    within_s = float(config["TIMEOUT_IN_SECONDS"])
    with dialled(config["SELECTOR_ADDRESS"]) as channel:
        files: dict[str, bytearray] = {}
        checked_in = channel.stream_stream(m.CHECK_IN)
        for answer in checked_in(iter([m.check_in_request(folder.name)]), timeout=within_s, wait_for_ready=True):
            data = m.FlData.read(answer)
            if data.type == m.INT:
                say(f"sent away: come back in {data.number} ms")
                return SENT_AWAY
            files.setdefault(data.path, bytearray()).extend(data.chunk)
        place = folder / config["FL_INIT_DIR"]
        place.mkdir(exist_ok=True)
        for name, content in files.items():
            (place / Path(name).name).write_bytes(content)
        before = unpacked((place / config["CHECKPOINT_FILE"]).read_bytes())
        rows = _rows(folder / config["DEVICE_DIR"] / config["DATA_DIR"] / "train", int(config["DATASET_ID"]))
        batches = -(-len(rows) // BATCH)
        after = trained(before, rows)
        update = packed({name: batches * (after[name] - before[name]) for name in before})
        channel.stream_unary(m.UPDATE)(_pieces(update, batches, int(config["CHUNKER_SIZE"])), timeout=within_s)
        say(f"trained on {len(rows)} rows, sent {len(update)} bytes")
    return 0


def trained(weights: Arrays, rows: NDArray[np.float64]) -> Arrays:
    """`weights` and `bias` of a linear model after some epochs of gradient descent."""
    slopes, bias = weights["weights"].copy(), weights["bias"].copy()
    features, labels = rows[:, :-1], rows[:, -1]
    for _ in range(EPOCHS):
        for at in range(0, len(rows), BATCH):
            given, wanted = features[at : at + BATCH], labels[at : at + BATCH]
            off = given @ slopes + bias - wanted
            slopes -= RATE * (given.T @ off) / len(off)
            bias -= RATE * off.mean()
    return {"weights": slopes, "bias": bias}


def _rows(folder: Path, dataset: int) -> NDArray[np.float64]:
    tables = [np.loadtxt(path, delimiter=",", ndmin=2) for path in sorted(folder.glob("*.csv"))]
    return np.concatenate(tables)[dataset - 1 :: FIFTHS]


def _pieces(update: bytes, batches: int, size: int) -> Iterator[bytes]:
    for at in range(0, len(update), size):
        yield m.FlData(chunk=update[at : at + size]).write()
    yield m.FlData(number=batches, type=m.INT).write()


if __name__ == "__main__":
    sys.exit(take_part(Path.cwd()))
