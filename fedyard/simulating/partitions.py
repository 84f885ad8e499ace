"""Which rows of one data set each simulated site has: as numbers in, lists of row numbers out.

Every row is at exactly one site, every site has one row at least, and the same seed gives the same parts (with the same
numpy: its generators may draw otherwise in another version).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import TaskError
from fedyard.wire.plurals import counted

Split: TypeAlias = Literal["iid", "label", "quantity"]
Rows: TypeAlias = NDArray[np.int64]
MAX_SITES = 1000


def partition(
    split: Split, labels: Sequence[Hashable] | None, count: int, sites: int, *, alpha: float, seed: int
) -> list[Rows]:
    """Rows of each site. labels: of each row, for `split="label"`. Raises `TaskError` for what cannot be divided."""
    if not 1 <= sites <= MAX_SITES:
        raise TaskError(f"{sites} sites: 1 to {MAX_SITES} can be simulated")
    if count < sites:
        raise TaskError(f"{counted(count, 'row')} cannot be divided among {sites} sites: each needs one")
    if not 0 < alpha <= 1e6:
        raise TaskError(f"alpha is {alpha:g}: a Dirichlet distribution's is more than 0, and 1e6 at most here")
    generator = np.random.default_rng(seed)
    if split == "iid":
        return iid(count, sites, generator)
    if split == "quantity":
        return by_quantity(count, sites, alpha, generator)
    if labels is None:
        raise TaskError("to divide rows by label, name the label's column")
    return by_label(labels, sites, alpha, generator)


def iid(count: int, sites: int, generator: np.random.Generator) -> list[Rows]:
    """Rows drawn without regard to what is in them, as many for each site (but for one)."""
    return [np.sort(part) for part in np.array_split(generator.permutation(count), sites)]


def by_quantity(count: int, sites: int, alpha: float, generator: np.random.Generator) -> list[Rows]:
    """Sites of different sizes: their shares are drawn from a symmetric Dirichlet distribution; rows as in `iid`.

    A small `alpha` makes few large sites and many small ones.
    """
    sizes = _whole(generator.dirichlet(np.full(sites, alpha)), count)
    order = generator.permutation(count)
    return _none_empty([np.sort(part) for part in np.split(order, np.cumsum(sizes)[:-1])])


def by_label(labels: Sequence[Hashable], sites: int, alpha: float, generator: np.random.Generator) -> list[Rows]:
    """Sites that see other labels: of each label the sites' shares are drawn from a symmetric Dirichlet distribution.

    As in Hsu et al. 2019 (arXiv:1909.06335) and Li et al. 2022 (arXiv:2102.02079). A small `alpha` gives each site few
    labels, a large one all in equal shares.
    """
    places: dict[Any, list[int]] = {}
    for row, label in enumerate(labels):
        places.setdefault(label, []).append(row)
    parts: list[list[Rows]] = [[] for _ in range(sites)]
    for label in sorted(places, key=str):
        rows = generator.permutation(np.array(places[label], dtype=np.int64))
        sizes = _whole(generator.dirichlet(np.full(sites, alpha)), len(rows))
        for part, piece in zip(parts, np.split(rows, np.cumsum(sizes)[:-1]), strict=True):
            part.append(piece)
    return _none_empty([np.sort(np.concatenate(part)) for part in parts])


def _whole(shares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Whole numbers that add up to `count`, each less than one from its share of it (largest remainders)."""
    exact = np.nan_to_num(shares) * count
    sizes = np.floor(exact).astype(np.int64)
    rest = count - int(sizes.sum())
    for place in np.argsort(-(exact - sizes), kind="stable")[: max(0, rest)]:
        sizes[place] += 1
    sizes[int(np.argmax(sizes))] += count - int(sizes.sum())  # a Dirichlet draw of a tiny alpha may add up to nothing
    return sizes


def _none_empty(parts: list[Rows]) -> list[Rows]:
    """The same, with a row of the largest site for each that has none."""
    for place, part in enumerate(parts):
        if not len(part):
            largest = max(range(len(parts)), key=lambda one: len(parts[one]))
            parts[place], parts[largest] = parts[largest][-1:], parts[largest][:-1]
    return parts
