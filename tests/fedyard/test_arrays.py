from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import subprocess
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedyard.tasks import TaskError, Unusable, Update
from fedyard.tasks.arrays import (
    FILE_FROM_BYTES,
    MAX_ARRAYS,
    MAX_NAME,
    MAX_TOGETHER_BYTES,
    Updates,
    norm_of,
    pack,
    unpack,
    unpacked_bytes,
)
from fedyard.tasks.child import ROOT
from fedyard.tasks.packed import save, size_and_digest, write

NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=20)
KINDS = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(),
    hnp.unicode_string_dtypes(min_len=1, max_len=8),
    hnp.byte_string_dtypes(min_len=1, max_len=8),
)
ARRAYS = st.dictionaries(NAMES, hnp.arrays(KINDS, hnp.array_shapes(min_dims=0, max_side=4, min_side=0)), max_size=4)


@given(ARRAYS)
def test_arrays_come_back_as_they_were(arrays: dict[str, np.ndarray]) -> None:
    packed = pack(arrays)
    back = unpack(packed)
    assert not isinstance(back, bytes)
    assert sorted(back) == sorted(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    assert pack(back) == packed


@given(st.binary(max_size=1000))
def test_bytes_come_back_as_they_were(content: bytes) -> None:
    assert unpack(pack(content)) == content


@given(st.binary(max_size=400))
def test_anything_else_is_a_task_error(content: bytes) -> None:
    for packed in (content, b"FYa1" + content):
        if packed[:4] != b"FYb1":
            with pytest.raises(TaskError):
                unpack(packed)


@given(ARRAYS.filter(bool), st.data())
def test_broken_arrays_are_arrays_or_a_task_error(arrays: dict[str, np.ndarray], data: st.DataObject) -> None:
    packed = bytearray(pack(arrays))
    place = data.draw(st.integers(4, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(TaskError):
        assert isinstance(unpack(bytes(packed)), dict)


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(f"{name}.npy", content)
    return b"FYa1" + out.getvalue()


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a pickle was opened",)


def npy(array: np.ndarray, *, objects: bool = False) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=objects)
    return out.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        npy(np.array([Bomb()], dtype=object), objects=True),
        pickle.dumps(Bomb()),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") + pickle.dumps(Bomb()),
        header("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }") + bytes(8),
        npy(np.zeros(3))[:-1],
        npy(np.zeros(3)) + b"more",
    ],
)
def test_nothing_is_unpickled_and_no_promise_is_believed(content: bytes) -> None:
    with pytest.raises(TaskError):
        unpack(archive(a=content))


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(TaskError, match="more than 1000000 bytes"):
        unpack(archive(a=npy(np.zeros(10_000_000))), limit_bytes=1_000_000)


def test_what_is_over_the_limit_is_not_packed_and_not_unpacked() -> None:
    weights = np.zeros(1000)
    with pytest.raises(TaskError, match="8000 bytes are too many"):
        pack({"weights": weights}, limit_bytes=7999)
    with pytest.raises(TaskError, match="too many"):
        pack(bytes(8000), limit_bytes=7999)
    unpack(pack({"weights": weights}, limit_bytes=8000), limit_bytes=8000)
    with pytest.raises(TaskError, match="more than 7999 bytes"):
        unpack(pack(bytes(8000)), limit_bytes=7999)


@pytest.mark.parametrize("count", [FILE_FROM_BYTES // 8, FILE_FROM_BYTES // 8 + 1, 500_000])
def test_large_content_goes_to_a_file_and_comes_back_from_it(tmp_path, count: int) -> None:
    arrays = {"weights": np.arange(float(count)).reshape(1, -1).T, "scale": np.ones((3, 2), dtype="f4", order="F")}
    packed = pack(arrays, large=tmp_path / "large")
    assert packed == tmp_path / "large"
    assert (tmp_path / "large").read_bytes() == pack(arrays)
    back = unpack(packed)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    with np.load(save(packed, tmp_path / "model"), allow_pickle=False) as opened:
        np.testing.assert_array_equal(opened["weights"], arrays["weights"])
    assert pack({"few": np.ones(3)}, large=tmp_path / "none") == pack({"few": np.ones(3)})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["large", "model.npz"]


def test_large_bytes_go_to_a_file(tmp_path) -> None:
    content = bytes(range(256)) * 5000
    packed = pack(content, large=tmp_path / "large")
    assert packed == tmp_path / "large"
    assert unpack(packed) == content
    assert save(packed, tmp_path / "model").read_bytes() == content


def test_large_updates_are_unpacked_one_by_one(tmp_path) -> None:
    parts = []
    for number in range(3):
        packed = pack({"w": np.full(MAX_TOGETHER_BYTES // 16, float(number))}, large=tmp_path / str(number))
        parts.append((f"site {number}", packed, {"samples": 1.0}))
    updates = Updates(parts, 2**30)
    assert updates[1] is not updates[1]
    assert [float(update.content["w"][0]) for update in updates] == [0.0, 1.0, 2.0]
    assert [update.site_id for update in updates[1:]] == ["site 1", "site 2"]
    assert len(updates) == 3
    small = Updates([("a", pack(b"x"), {})], 10)
    assert small[0] is small[0]
    assert list(small) == [Update("a", b"x", {})]


@pytest.mark.parametrize("arrays", [{"": np.zeros(1)}, {"a\nb": np.zeros(1)}, {"a": np.array([object()])}])
def test_odd_names_and_objects_are_not_packed(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(TaskError):
        pack(arrays)


def test_a_file_can_be_opened_by_numpy(tmp_path) -> None:
    path = save(pack({"weights": np.arange(3.0)}), tmp_path / "model-1.2")
    assert path.name == "model-1.2.npz"
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["weights"], np.arange(3.0))


def test_an_update_that_is_gone_says_so() -> None:
    with pytest.raises(TaskError, match="gone"):
        unpack(b"")


@pytest.mark.parametrize(
    ("array", "share"),
    [
        (np.random.default_rng(1).normal(size=200_000), (0.99, 1.01)),
        (np.random.default_rng(1).normal(size=1000).astype("f4"), (0.9, 1.2)),
        (np.where(np.arange(400_000) % 20 == 0, 0.5, 0.0), (1.0, 1.01)),
        (np.where(np.arange(40_000) % 20 == 0, 0.5, 0.0), (0.0, 0.1)),
        (np.random.default_rng(1).integers(0, 50, (30, 900)).T, (0.0, 0.3)),
        (np.zeros(2000), (0.0, 0.2)),
    ],
)
def test_small_content_that_gains_from_it_is_compressed(tmp_path, array, share) -> None:
    packed = pack({"w": array}, large=tmp_path / "large")
    size = packed.stat().st_size if not isinstance(packed, bytes) else len(packed)
    assert share[0] <= size / array.nbytes <= share[1]
    back = unpack(packed)
    assert not isinstance(back, bytes)
    np.testing.assert_array_equal(back["w"], array)
    with np.load(save(packed, tmp_path / "model"), allow_pickle=False) as opened:
        np.testing.assert_array_equal(opened["w"], array)


def test_a_masked_array_is_not_packed_as_if_nothing_were_masked() -> None:
    with pytest.raises(TaskError, match="masked"):
        pack({"w": np.ma.masked_array([1.0, 2.0], mask=[False, True])})


def test_an_update_that_cannot_be_unpacked_names_its_site() -> None:
    with pytest.raises(Unusable) as caught:
        Updates([("a", pack(b"x"), {}), ("b", b"FYa1 and no more", {})], 1000)
    assert list(caught.value.updates) == ["b"]


def foreign(*entries: tuple[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """As another program than `pack` would make it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression=how) as made:
        for name, content in entries:
            made.writestr(name, content)
    return b"FYa1" + out.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def test_an_archive_that_grows_a_thousandfold_is_not_unpacked() -> None:
    bomb = foreign(("a.npy", npy_bytes(np.zeros(8 * FILE_FROM_BYTES, dtype=np.uint8))))
    assert len(bomb) < FILE_FROM_BYTES / 8
    with pytest.raises(TaskError, match="compressed"):
        unpack(bomb)


@pytest.mark.parametrize(("count", "name"), [(MAX_ARRAYS + 1, "{}.npy"), (5000, "{}" + "x" * 900 + ".npy")])
def test_a_directory_without_an_end_is_not_parsed(count: int, name: str) -> None:
    """Neither where one is asked for the content, nor where only its size is."""
    bomb = foreign(*((name.format(number), b"") for number in range(count)))
    with pytest.raises(TaskError, match="directory"):
        unpack(bomb)
    assert unpacked_bytes(bomb) == len(bomb)


def test_as_many_arrays_as_may_be_come_back_however_long_their_names_are(tmp_path) -> None:
    arrays = {f"{number:04}" + "\U00010348" * (MAX_NAME - 4): np.full(1, number) for number in range(MAX_ARRAYS)}
    packed = pack(arrays)
    back = unpack(packed)
    assert back == arrays
    assert unpacked_bytes(packed) < len(packed) * 2
    with pytest.raises(TaskError, match=f"{MAX_ARRAYS + 1} arrays; {MAX_ARRAYS} at most"):
        pack(arrays | {"one more": np.zeros(1)})


LAYERS = {
    "scalar": np.array(1.5),
    "empty": np.zeros((0, 3), dtype=np.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "mask": np.array([True, False]),
    "half": np.array([1.0, 65504.0], dtype=np.float16),
    "brain": np.array([[1.0, -2.0], [np.inf, 3e38]], dtype=ml_dtypes.bfloat16),
    "brain.bfloat16": np.array(0.5, dtype=ml_dtypes.bfloat16),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)),
    "none": np.zeros((2, 0), dtype=ml_dtypes.bfloat16),
    "part": np.arange(10.0)[::3],
}


@pytest.mark.parametrize("large", [False, True])
def test_odd_arrays_arrive_as_they_left(tmp_path, large: bool) -> None:
    more = {"weights": np.zeros(FILE_FROM_BYTES, dtype=np.int8)} if large else {}
    packed = pack(LAYERS | more, large=tmp_path / "packed")
    assert isinstance(packed, bytes) is not large
    back = unpack(packed)
    assert not isinstance(back, bytes)
    for name, array in LAYERS.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape), name
        assert back[name].tolist() == array.tolist(), name
    assert pack(back, large=tmp_path / "again") == (packed if not large else tmp_path / "again")


def test_bfloat16_needs_its_package_where_it_arrives_and_is_told_so(tmp_path) -> None:
    (tmp_path / "packed").write_bytes(pack({"w": np.ones(2, dtype=ml_dtypes.bfloat16)}))  # type: ignore[arg-type]
    program = """
import pathlib, sys
sys.modules["ml_dtypes"] = None
from fedyard.tasks.arrays import TaskError, unpack
try:
    unpack(pathlib.Path(sys.argv[1]).read_bytes())
except TaskError as error:
    print(error)
"""
    said = subprocess.check_output([sys.executable, "-c", program, tmp_path / "packed"], cwd=ROOT, text=True)
    what = "array 'w' holds bfloat16 values, which need ml-dtypes here"
    assert said == f'{what}: pip install "fedyard[bfloat16]"\n'


def test_an_entry_for_bfloat16_holds_nothing_else() -> None:
    with pytest.raises(TaskError, match="'w' has an entry for bfloat16, and holds float64 values"):
        unpack(foreign(("w.bfloat16", npy_bytes(np.ones(2)))))


def test_other_types_of_that_package_are_named_and_not_packed() -> None:
    with pytest.raises(TaskError, match="holds float8_e5m2 values"):
        pack({"w": np.ones(2, dtype=ml_dtypes.float8_e5m2)})


def test_values_of_no_bytes_promise_nothing() -> None:
    header = b"{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000000,), }"
    header += b" " * (117 - len(header)) + b"\n"
    with pytest.raises(TaskError):
        unpack(foreign(("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)))


def test_a_header_that_nests_without_an_end() -> None:
    header = b"(" * 9000 + b"\n"
    with pytest.raises(TaskError):
        unpack(foreign(("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)))


def test_small_updates_that_unpack_to_much_are_not_held_at_once() -> None:
    """They count by what they take in memory, not by what they have on the way."""
    one = pack({"w": np.zeros(FILE_FROM_BYTES - 1, dtype=np.uint8)})
    assert isinstance(one, bytes)
    count = MAX_TOGETHER_BYTES // FILE_FROM_BYTES + 1
    assert count * len(one) < MAX_TOGETHER_BYTES // 100
    many = Updates([(str(number), one, {}) for number in range(count)], 2**30)
    assert many[0] is not many[0]
    few = Updates([("a", one, {})], 2**30)
    assert few[0] is few[0]


@pytest.mark.parametrize(
    ("content", "norm"),
    [
        ({"a": np.array([3.0]), "b": np.array([[4]], dtype=np.int8)}, 5.0),
        ({"a": np.array([3 + 4j]), "name": np.array(["north"])}, 5.0),
        ({"a": np.array([3.0, 4.0], dtype=ml_dtypes.bfloat16)}, 5.0),
        ({"a": np.full(3, 1e200)}, None),
        ({"a": np.array([1.0, np.nan])}, None),
        ({"name": np.array(["north"])}, None),
        (b"bytes", None),
    ],
)
def test_the_norm_is_over_all_numbers(content, norm: float | None) -> None:
    assert norm_of(content) == norm


def test_the_digest_is_that_of_the_file_that_people_open(tmp_path) -> None:
    packed = pack({"a": np.arange(9.0)}, 10_000, tmp_path / "large")
    write(packed, tmp_path / "model.npz")
    content = (tmp_path / "model.npz").read_bytes()
    assert size_and_digest(packed) == (len(content), hashlib.sha256(content).hexdigest())
