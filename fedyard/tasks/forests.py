"""Decision trees as arrays, so that they travel without pickle: out of scikit-learn, joined, asked with numpy alone.

Arrays of a forest: `roots` (where each tree's nodes begin), for each node `left` and `right` (its children, counted
from the tree's root; -1 at a leaf), `feature`, `threshold` (a row goes left whose value, in single precision, is not
larger), `missing_left` (so does one whose value is missing), and `value`: for each class its share, or the one value of
a regression; `classes` of a classifier; `features`, how many a row has. A tree tells thresholds that lie between values
of its site's rows: let leaves have many rows (min_samples_leaf).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import Arrays, Content, TaskError

Array: TypeAlias = NDArray[Any]

MAX_TREES = 100_000
LARGEST = float(np.finfo(np.float64).max)
"""In place of the infinity by which scikit-learn tells missing values from all others: what travels is finite."""
_NODES = ("left", "right", "feature", "threshold", "missing_left", "value")
_KINDS = {"roots": "i", "left": "i", "right": "i", "feature": "i", "threshold": "f", "missing_left": "b", "value": "f"}
_NAMES = {*_KINDS, "features"}


class Forest:
    """Trees that vote alike: a class's chance is the mean of the trees' shares, a regression the mean of their values.

    Raises `TaskError` for arrays that are no forest. What comes from another site is checked here, once: each child
    comes after its parent, so that every row reaches a leaf.
    """

    def __init__(self, content: Content) -> None:
        if isinstance(content, bytes):
            raise TaskError("it is bytes, and no forest")
        self.arrays: Arrays = {name: np.asarray(array) for name, array in content.items()}
        _check(self.arrays)

    @classmethod
    def of(cls, estimator: Any) -> Forest:
        """A fitted tree or forest of scikit-learn, classifier or regressor, with one target.

        Raises `TaskError` for another estimator: boosted trees, for one, do not vote.
        """
        trees = [each.tree_ for each in _trees_of(estimator)]
        classes = getattr(estimator, "classes_", None)
        if any(tree.value.shape[1] != 1 for tree in trees):
            raise TaskError(f"this {type(estimator).__name__} has several targets: fit one for each")
        thresholds = np.concatenate([tree.threshold for tree in trees]).astype(np.float64)
        arrays: dict[str, Array] = {
            "left": np.concatenate([tree.children_left for tree in trees]).astype(np.int32),
            "right": np.concatenate([tree.children_right for tree in trees]).astype(np.int32),
            "feature": np.concatenate([tree.feature for tree in trees]).astype(np.int32),
            "threshold": np.clip(thresholds, -LARGEST, LARGEST),
            "missing_left": np.concatenate([tree.missing_go_to_left for tree in trees]).astype(np.bool_),
            "value": np.concatenate([tree.value[:, 0, :] for tree in trees]).astype(np.float64),
            "roots": np.cumsum([0, *(tree.node_count for tree in trees[:-1])], dtype=np.int64),
            "features": np.array(estimator.n_features_in_),
        }
        if classes is not None:
            arrays["value"] /= arrays["value"].sum(axis=1, keepdims=True)
            arrays["classes"] = np.asarray(classes)
        return cls(arrays)

    @property
    def trees(self) -> int:
        return len(self.arrays["roots"])

    def predict_proba(self, rows: Any) -> Array:
        """For each row the chances of `classes`, as scikit-learn's forest says them. Raises `TaskError`."""
        if "classes" not in self.arrays:
            raise TaskError("a forest of regression trees has no classes: ask predict")
        return self._mean(rows)

    def predict(self, rows: Any) -> Array:
        """For each row its class, or the value of a regression."""
        mean = self._mean(rows)
        return self.arrays["classes"][mean.argmax(axis=1)] if "classes" in self.arrays else mean[:, 0]

    def _mean(self, rows: Any) -> Array:
        rows = np.asarray(rows, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.arrays["features"]:
            raise TaskError(f"rows of {self.arrays['features']} features are asked for, and these are {rows.shape}")
        total = np.zeros((len(rows), self.arrays["value"].shape[1]))
        for root in self.arrays["roots"]:
            total += self.arrays["value"][self._leaves(rows, int(root))]
        return total / self.trees

    def _leaves(self, rows: Array, root: int) -> Array:
        """Where each row ends in one tree."""
        nodes = np.full(len(rows), root)
        going = np.arange(len(rows))
        while len(going := going[self.arrays["left"][nodes[going]] >= 0]):
            here = nodes[going]
            values = rows[going, self.arrays["feature"][here]]
            left = np.where(
                np.isnan(values), self.arrays["missing_left"][here], values <= self.arrays["threshold"][here]
            )
            nodes[going] = root + np.where(left, self.arrays["left"][here], self.arrays["right"][here])
        return nodes


def joined(forests: Sequence[Forest]) -> Forest:
    """One forest of all their trees; its classes are all that any of them knows. Raises `TaskError`."""
    parts = [forest.arrays for forest in forests]
    sizes = [len(part["left"]) for part in parts]
    starts = np.cumsum([0, *sizes[:-1]])
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in _NODES if name != "value"}
    arrays["roots"] = np.concatenate([part["roots"] + start for part, start in zip(parts, starts, strict=True)])
    arrays["features"] = parts[0]["features"]
    if "classes" in parts[0]:
        arrays["classes"] = np.unique(np.concatenate([part["classes"] for part in parts]))
        arrays["value"] = np.zeros((sum(sizes), len(arrays["classes"])))
        for part, start, size in zip(parts, starts, sizes, strict=True):
            places = np.searchsorted(arrays["classes"], part["classes"])
            arrays["value"][start : start + size, places] = part["value"]
    else:
        arrays["value"] = np.concatenate([part["value"] for part in parts])
    return Forest(arrays)


def _trees_of(estimator: Any) -> list[Any]:
    name = type(estimator).__name__
    if hasattr(estimator, "tree_"):
        return [estimator]
    trees = getattr(estimator, "estimators_", None)
    if not isinstance(trees, list) or not trees or not all(hasattr(each, "tree_") for each in trees):
        raise TaskError(f"a {name} is no fitted tree or forest whose trees vote (RandomForest..., ExtraTrees...)")
    if hasattr(estimator, "estimators_features_"):
        raise TaskError(f"the trees of a {name} see columns of their own: take a RandomForest or ExtraTrees")
    return trees


def _check(arrays: Arrays) -> None:
    names = set(arrays) - {"classes"}
    if names != _NAMES or any(arrays[name].dtype.kind != kind for name, kind in _KINDS.items()):
        raise TaskError("its arrays are no forest")
    count, trees = len(arrays["left"]), len(arrays["roots"])
    values = arrays["value"].shape[1] if arrays["value"].ndim == 2 else 0
    classes = arrays.get("classes")
    shapes = dict.fromkeys(_NODES, (count,)) | {"value": (count, values), "roots": (trees,), "features": ()}
    if any(arrays[name].shape != shape for name, shape in shapes.items()) or not 1 <= trees <= MAX_TREES or not values:
        raise TaskError(f"its arrays have not the shapes of a forest of 1 to {MAX_TREES} trees")
    if (values != 1) if classes is None else (classes.shape != (values,) or len(np.unique(classes)) != values):
        raise TaskError("its classes are not one for each share in a leaf")
    roots = arrays["roots"]
    if roots[0] != 0 or (np.diff(roots) <= 0).any() or roots[-1] >= count:
        raise TaskError("its trees do not lie one after the other")
    _check_nodes(arrays, np.diff([*roots, count]))


def _check_nodes(arrays: Arrays, sizes: Array) -> None:
    left, right, value = arrays["left"].astype(np.int64), arrays["right"].astype(np.int64), arrays["value"]
    own = np.arange(len(left)) - np.repeat(arrays["roots"], sizes)
    inner = left >= 0
    apart = (left > own) & (left < np.repeat(sizes, sizes)) & (right > own) & (right < np.repeat(sizes, sizes))
    if not np.where(inner, apart, (left == -1) & (right == -1)).all():
        raise TaskError("a node of its trees has children that are none")
    feature = arrays["feature"][inner]
    if ((feature < 0) | (feature >= arrays["features"])).any() or not np.isfinite(arrays["threshold"][inner]).all():
        raise TaskError("a node of its trees asks for a feature that is none")
    if not np.isfinite(value).all():
        raise TaskError("a leaf of its trees has a value that is no finite number")
    if "classes" in arrays and ((value < 0).any() or not np.allclose(value.sum(axis=1), 1.0)):
        raise TaskError("the shares of a leaf of its trees are not 1 together")
