"""What data each simulated site has: files of its own, or its part of one data set.

A file is a site's `train`. A folder is a site with several files: train.csv in it is its `train`, test.npz its `test`.
In Python an item may also be a data frame, or a mapping of arrays, which are written to a file: a site reads files.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from fedyard.simulating.partitions import Rows, Split, partition
from fedyard.tasks import TaskError
from fedyard.tasks.reading.text import after, separator_of, text_of

Item: TypeAlias = "str | Path | Mapping[str, Any] | Any"
"""A site's data: a file, a folder, a mapping of names to files (or frames, or arrays), a data frame, or arrays."""
TRAIN, TEST = "train", "test"
SUFFIXES = (".csv", ".tsv", ".txt", ".npz", ".parquet", ".gz")
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class SiteData:
    """A site's name, and where the files of its data are, by the names that a task knows them by."""

    name: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Divided:
    """How one data set is divided. label: the column, or the array of an .npz, that `split="label"` goes by."""

    sites: int
    split: Split = "iid"
    alpha: float = 0.5
    label: str = "label"
    seed: int = 0


def placed(
    data: Item | Sequence[Item] | Mapping[str, Item], folder: Path, divided: Divided | None, test: Item | None = None
) -> list[SiteData]:
    """The sites with their data, sorted by name. folder: for what has to be written. Raises `TaskError`.

    test: for the sites that have no `test` of their own.
    """
    items = _items(data)
    if divided is not None:
        if len(items) != 1:
            raise TaskError(f"{len(items)} data sets and a number of sites: give one that is divided, or leave it out")
        (item,) = items.values()
        sites = _divided(item, folder, divided)
    else:
        sites = [SiteData(name, files_of(item, folder / name)) for name, item in items.items()]
    if test is not None:
        shared = _file(test, folder, "all-test")
        sites = [SiteData(site.name, {TEST: shared, **site.files}) for site in sites]
    return sorted(sites, key=lambda site: site.name)


def files_of(item: Item, folder: Path) -> dict[str, str]:
    """The files of one site's data, by name."""
    if isinstance(item, (str, Path)) and Path(item).is_dir():
        found = {
            path.name.split(".")[0]: str(path.absolute())
            for path in sorted(Path(item).iterdir())
            if path.suffix in SUFFIXES
        }
        if not found:
            raise TaskError(f"there is no data file in {item}: train.csv in it would be the site's `train`")
        return found
    if isinstance(item, Mapping) and not _is_arrays(item):
        return {str(name): _file(one, folder, str(name)) for name, one in item.items()}
    return {TRAIN: _file(item, folder, TRAIN)}


def _items(data: Item | Sequence[Item] | Mapping[str, Item]) -> dict[str, Item]:
    if isinstance(data, (str, Path)) or hasattr(data, "to_csv"):
        return {"site-1": data}
    if isinstance(data, Mapping):
        if _is_arrays(data):
            return {"site-1": data}
        return {_plain(str(name)): item for name, item in data.items()}
    listed = list(cast("Sequence[Item]", data))
    if not listed:
        raise TaskError("there is no data: a site has a file at least")
    names = [_plain(Path(item).name.split(".")[0]) if isinstance(item, (str, Path)) else "" for item in listed]
    if "" in names or len(set(names)) < len(names):
        names = _numbered(len(listed))
    return dict(zip(names, listed, strict=True))


def _numbered(count: int) -> list[str]:
    """Names that stand in the order of their numbers."""
    return [f"site-{number:0{len(str(count))}d}" for number in range(1, count + 1)]


def _plain(name: str) -> str:
    return _NAME.sub("-", name)[:60] or "site"


def _is_arrays(item: Mapping[str, Any]) -> bool:
    return bool(item) and all(isinstance(one, np.ndarray) for one in item.values())


def _file(item: Item, folder: Path, name: str) -> str:
    """Where the data are as a file; written there if they were none."""
    if isinstance(item, str) and "://" in item:
        return item
    if isinstance(item, (str, Path)):
        path = Path(item)
        if not path.exists():
            raise TaskError(f"there is no data file {path}")
        return str(path.absolute())
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(item, "to_csv"):
        path = folder / f"{name}.csv"
        item.to_csv(path, index=False)
        return str(path)
    if isinstance(item, Mapping) and _is_arrays(item):
        path = folder / f"{name}.npz"
        np.savez(path, **item)
        return str(path)
    raise TaskError(f"data of a site are a file, a folder, a data frame or arrays, not a {type(item).__name__}")


# one data set for many sites


def _divided(item: Item, folder: Path, divided: Divided) -> list[SiteData]:
    """Each of the data set's files is a site's: its `train` is divided, others (a `test`) go to all as they are."""
    files = files_of(item, folder / "whole")
    if TRAIN not in files:
        raise TaskError(f"what is divided is `train`, and there is only {', '.join(sorted(files))}")
    source, names = Path(files.pop(TRAIN)), _numbered(divided.sites)
    cut = _cut_arrays if source.suffix == ".npz" else _cut_text
    parts = cut(source, folder, names, divided)
    return [SiteData(name, {TRAIN: str(part), **files}) for name, part in zip(names, parts, strict=True)]


def _rows(divided: Divided, labels: Sequence[Any] | None, count: int) -> list[Rows]:
    return partition(divided.split, labels, count, divided.sites, alpha=divided.alpha, seed=divided.seed)


def _cut_arrays(source: Path, folder: Path, names: Sequence[str], divided: Divided) -> list[Path]:
    """Arrays of the label's length (`y`, if there is none of its name) are cut, all others kept whole."""
    with np.load(source, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    label = divided.label if divided.label in arrays else "y"
    if label not in arrays or arrays[label].ndim != 1:
        raise TaskError(f"{source.name} has no array {divided.label!r} (or y) with a label for each row")
    count = len(arrays[label])
    paths = []
    for name, rows in zip(names, _rows(divided, arrays[label].tolist(), count), strict=True):
        path = folder / name / f"{TRAIN}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        cut = {key: value[rows] if value.ndim and len(value) == count else value for key, value in arrays.items()}
        np.savez(path, **cut)
        paths.append(path)
    return paths


def _cut_text(source: Path, folder: Path, names: Sequence[str], divided: Divided) -> list[Path]:
    """Lines of a CSV file as they are, under its line of names; as UTF-8, whatever they were."""
    separator, head, rows = _read(source, divided.label)
    labels = None
    if divided.split == "label":
        columns = [cell.strip() for cell in head]
        if divided.label not in columns:
            raise TaskError(f"{source.name} has no column {divided.label!r} to divide its rows by: name it")
        place = columns.index(divided.label)
        labels = [row[place].strip() if place < len(row) else "" for row in rows]
    paths = []
    for name, chosen in zip(names, _rows(divided, labels, len(rows)), strict=True):
        path = folder / name / f"{TRAIN}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
            writer.writerow(head)
            writer.writerows(rows[row] for row in chosen)
        paths.append(path)
    return paths


def _read(source: Path, label: str) -> tuple[str, list[str], list[list[str]]]:
    """What parts the fields, the names, and the rows of a CSV file."""
    with ExitStack() as stack:
        lines = iter(text_of(source, stack))
        try:
            separator, first = separator_of(source.name, lines, label)
            read = csv.reader(after(first, lines), delimiter=separator, skipinitialspace=separator != "\t")
            head, *rows = [row for row in read if any(map(str.strip, row))]
        except UnicodeDecodeError as error:
            raise TaskError(f"{source.name} is no {error.encoding.upper()} text: save it as CSV UTF-8") from None
        except csv.Error as error:
            raise TaskError(f"{source.name} is no CSV file that can be divided: {error}") from None
    return separator, head, rows
