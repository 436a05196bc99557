"""Pickles and archives that are made to read foreign memory, to fill it, or to take forever."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from programs import Programs, call, literal, push_global

from raymetrics import safe_pickle
from raymetrics.errors import ExtractorError, RaymetricsError, StorageError, UnsafePickle
from raymetrics.weights.state_dict import read_state

COUNT = 64  # numbers of a storage
DTYPE = ("numpy", "dtype")


def archive(data: bytes, path: Path, **storages: bytes) -> safe_pickle.TorchArchive:
    """A file of torch.save with this data.pkl and these storages."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data.pkl", data)
        for key, content in storages.items():
            file.writestr(f"net/data/{key}", content)
    return safe_pickle.TorchArchive(str(path))


def storage(kind: str = "FloatStorage", key: Any = "a", count: Any = COUNT) -> bytes:
    parts = (
        literal("storage"),
        push_global("torch", kind),
        literal(key),
        literal("cpu"),
        literal(count),
    )
    return b"(" + b"".join(parts) + b"tQ"


def tensor(of: bytes, offset: Any, sizes: tuple, steps: tuple) -> bytes:
    arguments = of, literal(offset), literal(sizes), literal(steps), literal(False)
    return call(("torch._utils", "_rebuild_tensor_v2"), *arguments)


@pytest.mark.parametrize(
    ("offset", "sizes", "steps"),
    [
        (0, (17,), (np.int16(4096),)),  # 16 * 4096 is 0 in 16 bits
        (0, (9,), (np.int64(2**61),)),
        (0, (np.int64(9),), (2**61,)),
        (np.int8(-1), (1,), (1,)),
        (-1, (1,), (1,)),
        (1, (3,), (-1,)),
        (np.uint64(2**64 - 1), (2,), (1,)),
        (2**62 - 1, (1,), (1,)),
        (0, (-1, -2), (1, 1)),
        (0, (65,), (1,)),
        (63, (2,), (1,)),
        (0, (2**40,), (0,)),  # more numbers than there are, in no memory
        (0, (1,) * 65, (1,) * 65),
        (65, (0,), (1,)),
    ],
)
def test_tensors_outside_of_their_storage(
    tmp_path: Path, offset: Any, sizes: tuple, steps: tuple
) -> None:
    data = tensor(storage(), offset, sizes, steps) + b"."
    with (
        archive(data, tmp_path / "a.pt", a=bytes(4 * COUNT)) as file,
        pytest.raises(
            StorageError, match="a.pt is damaged.*(outside of|where a size|of 64|at most)"
        ),
    ):
        safe_pickle.read_archive(file, "a.pt")


@pytest.mark.parametrize("offset", [3, np.int8(3), np.uint64(3), True])
def test_numbers_of_numpy_are_numbers_too(tmp_path: Path, offset: Any) -> None:
    data = tensor(storage(), offset, (np.int16(2), 2), (np.uint8(8), np.int64(1))) + b"."
    numbers = np.arange(COUNT, dtype="f4")
    with archive(data, tmp_path / "a.pt", a=numbers.tobytes()) as file:
        found = safe_pickle.read_archive(file, "a.pt")
    start = int(offset)
    np.testing.assert_array_equal(found, numbers[[[start, start + 1], [start + 8, start + 9]]])


CHANGES = {
    "item": literal(0) + literal(1.5) + b"s",
    "items": b"(" + literal(0) + literal(1.5) + b"u",
    "append": literal(1.5) + b"a",
    "appends": b"(" + literal(1.5) + b"e",
    "add": b"(" + literal(1.5) + b"\x90",
}


@pytest.mark.parametrize("kind", ["BFloat16Storage", "FloatStorage"])
@pytest.mark.parametrize("change", sorted(CHANGES))
def test_no_instruction_writes_into_a_tensor(tmp_path: Path, kind: str, change: str) -> None:
    count = 32 if kind == "FloatStorage" else 64
    made = tensor(storage(kind, count=count), 0, (4,), (1,))
    with archive(made + b".", tmp_path / "a.pt", a=bytes(128)) as file:
        assert not safe_pickle.read_archive(file, "a.pt").flags.writeable
    with (
        archive(made + CHANGES[change] + b".", tmp_path / "b.pt", a=bytes(128)) as file,
        pytest.raises(StorageError, match="an instruction that changes a ndarray like a"),
    ):
        safe_pickle.read_archive(file, "b.pt")


@pytest.mark.parametrize("value", [{}, [], set(), (), b"a", bytearray(b"a")])
@pytest.mark.parametrize("change", sorted(CHANGES))
def test_instructions_change_what_they_are_for(value: Any, change: str) -> None:
    fit = {"item": dict, "items": dict, "append": list, "appends": list, "add": set}[change]
    start = b"\x8f" if value == set() else literal(value)
    data = start + CHANGES[change] + b"."
    if type(value) is fit:
        assert len(safe_pickle.read_pickle(data, "here")) == 1
    else:
        with pytest.raises(StorageError, match=f"like a {fit.__name__}"):
            safe_pickle.read_pickle(data, "here")


@pytest.mark.parametrize("text", ["f8", "S8", "U2", "?"])
@pytest.mark.parametrize("order", ["<", ">", "=", "|"])
@pytest.mark.parametrize("numbers", [(-1, -1, 1), (-1, 3, 63), (-1, -1, 1 << 62)])
def test_a_dtype_takes_the_byte_order_alone(text: str, order: str, numbers: tuple) -> None:
    made = call(DTYPE, literal(text), literal(False), literal(True))
    found = safe_pickle.read_pickle(
        made + literal((3, order, None, None, None, *numbers)) + b"b.", "here"
    )
    expected = np.dtype(text).newbyteorder(order)
    assert found == expected
    assert (found.flags, found.itemsize, found.alignment) == (
        expected.flags, expected.itemsize, expected.alignment,
    )  # fmt: skip


def array(content: bytes, text: str, shape: tuple) -> tuple[bytes, bytes]:
    """An empty array of numpy's, and its state."""
    dtype = call(DTYPE, literal(text), literal(False), literal(True))
    state = b"(" + literal(1) + literal(shape) + dtype + literal(False) + literal(content) + b"tb"
    kind = push_global("numpy", "ndarray")
    return call(("numpy.core.multiarray", "_reconstruct"), kind, literal((0,)), b"C\x01b"), state


@pytest.mark.parametrize(
    ("content", "text", "shape", "reason"),
    [
        (bytes(8), "f4", (np.int64(2**62), np.int64(4)), "where a size is expected"),
        (bytes(8), "f4", (2**61, 2**61), "2 numbers float32 for"),
        (bytes(8), "f4", (-1, -2), "where a size is expected"),
        (bytes(8), "f4", (3,), "2 numbers float32 for"),
        (b"", "S", (2**61,), "expected a type of numbers"),
        (b"\2", "?", (1,), "truth values"),
        (b"\xff" * 4, "U1", (1,), "no characters"),
    ],
)
def test_arrays_of_more_than_there_is(content: bytes, text: str, shape: Any, reason: str) -> None:
    empty, state = array(content, text, shape)
    with pytest.raises(StorageError, match=reason):
        safe_pickle.read_pickle(empty + state + b".", "here")
    dtype = call(DTYPE, literal(text), literal(False), literal(True))
    arguments = literal(bytearray(content)), dtype, literal(shape), literal("C")
    with pytest.raises(StorageError, match=reason):
        safe_pickle.read_pickle(
            call(("numpy.core.numeric", "_frombuffer"), *arguments) + b".", "here"
        )


def test_an_array_is_filled_once() -> None:
    """A view of what it held would lie in freed memory."""
    empty, state = array(bytes(4096), "f4", (2, 512))
    found = safe_pickle.read_pickle(empty + state + b".", "here")
    assert not found.flags.writeable
    with pytest.raises(StorageError, match="an array that is filled twice"):
        safe_pickle.read_pickle(empty + state + state + b".", "here")


DOUBLED = b"r\1\0\0\0j\1\0\0\0\x86"  # x -> (x, x)
LISTED = b"r\1\0\0\0]j\1\0\0\0aj\1\0\0\0a"  # x -> [x, x]
SAME_HASH = [k * (2**61 - 1) for k in range(1, 1000)]
TOO_MUCH = {
    "named outside": (b"N" + DOUBLED * 60 + b"Q.", "an object outside of itself, tuple"),
    "a key": (b"}N" + DOUBLED * 60 + b"Ns.", "a key that is a tuple"),
    "in a set": (b"\x8f(N" + DOUBLED * 60 + b"\x90.", "a key that is a tuple"),
    "in a frozen set": (b"(N" + DOUBLED * 60 + b"\x91.", "a key that is a tuple"),
    "a key in a call": (
        call(("collections", "OrderedDict"), b"](N" + DOUBLED * 60 + b"Nt\x85]N" + b"ae.")
        .replace(b"\x85]N", b"a").replace(b"ae.", b""), "a key that is a tuple",
    ),
    "a list": (b"N" + LISTED * 60 + b".", "written out in full"),
    "modules": (
        b"}" + b"r\1\0\0\0ctorch.nn.modules.a\nA\n)\x81}(X\1\0\0\0aj\1\0\0\0X\1\0\0\0bj\1\0\0\0ub"
        * 40 + b".", "written out in full",
    ),
    "too deep": (b"N" + b"\x85" * 5000 + b".", "more than 100 deep"),
    "deep behind shallow": (
        b"](N" + b"".join(b"\x85r" + struct.pack("<I", i) for i in range(200))
        + b"".join(b"j" + struct.pack("<I", i) for i in range(200)) + b"e.", "more than 100 deep",
    ),
    "endless": (b"]r\1\0\0\0j\1\0\0\0a.", "more than 100 deep"),
    "copies": (
        b"(" + literal("x" * 5000) + b"r\1\0\0\0"
        + b"c_codecs\nencode\nj\1\0\0\0X\6\0\0\0latin1\x86R" * 5000 + b"t.", "it makes more than",
    ),
    "states": (
        literal(dict.fromkeys(range(5000))) + b"r\1\0\0\0"
        + b"(ctorch.nn.modules.a\nA\n)\x81j\1\0\0\0bt" * 5000 + b".", "it makes more than",
    ),
    "keys of one hash": (literal(dict.fromkeys(SAME_HASH)) + b".", "more than 64 bits"),
    "places of one hash": (
        b"N" + b"".join(b"p%d\n" % n for n in SAME_HASH) + b".", "beyond 32 bits",
    ),
    "instructions": (b"N0" * (1 << 20) + b"N.", "more than 2097152 instructions"),
    "a long name": (b"c" + b"a" * 10**6 + b"\nb\n.", "names a{100}, and"),
    "a terminal": (b"c\x1b[2Jos\nsystem\n.", r"names \\x1b\[2Jos.system"),
    "a text": (b"P\x1b[2J\n.", r"outside of itself, '\\x1b\[2J'"),
    "a buffer": (literal(bytearray(9)) + b"\x98.", "a buffer outside of itself"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TOO_MUCH))
def test_what_would_take_too_much(name: str) -> None:
    data, reason = TOO_MUCH[name]
    with pytest.raises(RaymetricsError, match=reason) as raised:
        safe_pickle.read_pickle(data, "here")
    assert isinstance(raised.value, StorageError | UnsafePickle)
    assert len(str(raised.value)) < 700
    assert str(raised.value).isprintable()


def test_what_is_shared_is_read() -> None:
    """As tied weights are, a few times."""
    shared = np.ones((50, 50))
    found = safe_pickle.read_pickle(pickle.dumps([shared] * 8), "here")
    assert len(found) == 8
    assert all(part is found[0] for part in found)


def test_one_array_many_times_is_not() -> None:
    with pytest.raises(StorageError, match="written out in full"):
        safe_pickle.read_pickle(pickle.dumps([np.ones((500, 500))] * 50), "here")


def test_modules_with_long_names() -> None:
    names = b"X" + struct.pack("<I", 2000) + b"x" * 2000
    inner = b"ctorch.nn.modules.a\nA\n)\x81"
    data = inner + b"}X\x08\0\0\0_modules}" + names + inner + b"ssb."
    with pytest.raises(ValueError, match="names are together longer than 1000"):
        safe_pickle.module_tensors(safe_pickle.read_pickle(data, "here"))


@pytest.mark.parametrize("count", [np.int8(COUNT), COUNT + 1, -1, 2**62, None, 64.0])
def test_storages_of_another_count(tmp_path: Path, count: Any) -> None:
    data = storage(count=count) + b"."
    with archive(data, tmp_path / "a.pt", a=bytes(4 * COUNT)) as file:
        if count == COUNT and not isinstance(count, float):
            assert len(safe_pickle.read_archive(file, "a.pt")) == COUNT
        else:
            with pytest.raises(StorageError, match="a.pt is damaged"):
                safe_pickle.read_archive(file, "a.pt")


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (
            storage(),
            storage("IntStorage"),
            "a storage that is torch.FloatStorage and torch.IntStor",
        ),
        (b"N", storage(key="b"), "a zip without data/b"),
        (b"N", storage(key=(1,)), "a storage whose name is a tuple"),
        (b"N", storage("BoolStorage", count=4 * COUNT), "truth values other than 0 and 1"),
    ],
)
def test_storages_that_disagree(tmp_path: Path, first: bytes, second: bytes, reason: str) -> None:
    with (
        archive(first + second + b"\x86.", tmp_path / "a.pt", a=b"\2" * 4 * COUNT) as file,
        pytest.raises(StorageError, match=reason),
    ):
        safe_pickle.read_archive(file, "a.pt")


@pytest.mark.parametrize("lengths", [(400000, 400000), (4000, 400000), (400000, 4000)])
def test_members_longer_than_their_file(tmp_path: Path, lengths: tuple[int, int]) -> None:
    path = tmp_path / "a.pt"
    archive(b"N.", path, a=bytes(4000), b=bytes(4000)).zip.close()
    data = path.read_bytes()
    # What the last entry of the zip's list says of its length, packed and unpacked.
    place = data.rindex(b"PK\1\2")
    path.write_bytes(data[: place + 20] + struct.pack("<II", *lengths) + data[place + 28 :])
    with pytest.raises(ValueError, match="bytes of members, .* unpacked, in"):
        safe_pickle.TorchArchive(str(path))


def legacy(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


CHANGED: dict[str, Callable[[bytes], bytes]] = {
    "another count": lambda data: data.replace(b"K\x06N", b"K\x07N"),
    "a huge count": lambda data: data.replace(b"K\x06N", b"\x8a\x08" + b"\xff" * 7 + b"\x0fN"),
    "a larger tensor": lambda data: data.replace(b"K\x02K\x03\x86", b"K\x02K\x04\x86"),
    "a view": lambda data: data.replace(b"K\x06N", b"K\x06K\x01"),
    "storages left out": lambda data: data[: data.rindex(b"](" if b"](" in data else b"]")] + b"].",
    "numbers left out": lambda data: data[:-1],
    "another magic": lambda data: data.replace(b"\x8a\n", b"\x8a\t", 1),
    "big-endian": lambda data: data.replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89"),
}


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_files_of_torch_before_its_zip_files(tmp_path: Path, name: str) -> None:
    data = legacy({"a": torch.arange(6.0).reshape(2, 3)})
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    assert torch.equal(read_state(path)["a"], torch.arange(6.0).reshape(2, 3))
    assert CHANGED[name](data) != data
    path.write_bytes(CHANGED[name](data))
    with pytest.raises(ExtractorError, match="net.pth is (damaged|cut off).*get the file again"):
        read_state(path)


@pytest.mark.parametrize(
    "data",
    [
        b"", b".", b"0.", b"\x80", b"\x80\x02J\x01", b"\x80\x02K", b"\x80\x02ctorch\n", b"hello",
        b"\0" * 40, b"<!DOCTYPE html>", b"PK\3\4", b"PK\5\6" + bytes(18),
        b"\x80\x02N" + DOUBLED * 60 + b"Q.", b"\x80\x02}N" + DOUBLED * 60 + b"Ns.",
        b"\x10\0\0\0\0\0\0\0{" + b" " * 30,
        b"\x80\x02" + b"(" * 100000, literal({"a": np.ones(2)}) + b".",
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["pt", "pth", "safetensors"])
def test_files_that_hold_no_weights(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"net.{suffix}"
    path.write_bytes(data)
    with pytest.raises(RaymetricsError, match=f"net.{suffix} .*(get|save)") as raised:
        read_state(path)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 700


def test_a_state_with_other_names(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({1: torch.ones(2)}, path)
    with pytest.raises(ExtractorError, match="net.pth are not tensors by their names"):
        read_state(path)


def test_the_programs_of_the_fuzzer_are_read_where_nothing_is_unfit() -> None:
    """So that it looks at what comes out, and not only at refusals."""
    peaceful = [programs for programs in map(Programs, range(60)) if programs.hostility == 0]
    assert len(peaceful) > 5
    for programs in peaceful:
        with safe_pickle.TorchArchive(
            io.BytesIO(programs.archive(programs.compose_pickle()))
        ) as file:
            safe_pickle.read_archive(file, "here")
