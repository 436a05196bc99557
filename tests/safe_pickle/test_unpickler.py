"""Pickles that are read and not executed."""

from __future__ import annotations

import builtins
import copyreg
import io
import operator
import os
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import nvidia_pickles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from nvidia_pickles import EasyDict, Network

from raymetrics import safe_pickle
from raymetrics.errors import StorageError, UnsafePickle
from raymetrics.safe_pickle import PickledObject

SIMPLE = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.complex_numbers()
ARRAYS = npst.arrays(
    st.sampled_from(["f4", ">f8", "i1", "<u8", "?", "c8", "f2", "U3", "S2"]), npst.array_shapes()
)
SCALARS = st.sampled_from([np.float64(0.1), np.int8(3), np.bool_(True), np.float16(2)])
VALUES = st.recursive(
    SIMPLE | st.floats() | ARRAYS | SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3).map(OrderedDict)
        | st.sets(st.integers(-(2**63), 2**63))
        | st.frozensets(st.text())
        | st.binary().map(bytearray)
    ),
    max_leaves=6,
)
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def same(a: Any, b: Any) -> bool:
    """Equal, of equal types, with NaN equal to itself."""
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b) if a != a else type(a) is type(b) and a == b


@settings(max_examples=150, deadline=None)
@given(VALUES, st.sampled_from(PROTOCOLS))
def test_what_was_pickled_is_read_as_pickle_reads_it(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    # Not always `value`: some protocols give numpy's arrays the byte order of the machine.
    assert same(safe_pickle.read_pickle(data, "here"), pickle.loads(data))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_in_any_order_of_memory(protocol: int) -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    for view in (array, array.T, array.transpose(1, 0, 2), array[::2], np.asfortranarray(array)):
        np.testing.assert_array_equal(
            safe_pickle.read_pickle(pickle.dumps(view, protocol), "here"), view
        )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tensors(protocol: int) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    value = {
        "parameter": torch.nn.Parameter(whole),
        "views": [whole, whole.T, whole[1:, ::2], torch.empty(0, 3), torch.tensor(7)],
        "kinds": [whole.bfloat16(), whole.half(), whole.long(), whole > 3],
        "rest": (whole.shape, torch.device("cpu"), torch.float16),
    }
    again = safe_pickle.read_pickle(pickle.dumps(value, protocol), "here")
    np.testing.assert_array_equal(again["parameter"], whole)
    for kind in ("views", "kinds"):
        for a, b in zip(value[kind], again[kind], strict=True):
            expected = (a.float() if a.dtype == torch.bfloat16 else a).numpy()
            assert b.dtype == expected.dtype
            np.testing.assert_array_equal(b, expected)
    assert again["rest"] == value["rest"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_devices(protocol: int) -> None:
    devices = [torch.device("cpu"), torch.device("cuda", 1), torch.device("cuda")]
    assert safe_pickle.read_pickle(pickle.dumps(devices, protocol), "here") == devices


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.reduced = (function, args)

    def __reduce__(self) -> tuple:
        return self.reduced


def storage_of(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def evil(mark: Path) -> dict[str, tuple[Any, str]]:
    """Things that would leave `mark` behind, and what the error has to name."""
    touch = Calls(os.system, f"touch {mark}")
    load = torch.storage._load_from_bytes
    array = np.array([touch, 1], dtype=object)
    return {
        "system": (touch, "posix.system"),
        "eval": (
            Calls(builtins.eval, f"open({str(mark)!r}, 'w')"),
            r"(__builtin__|builtins)\.eval",
        ),
        "inside": ([{"a": (touch,)}], "posix.system"),
        "key": ({Calls(operator.attrgetter, "a"): 1}, "operator.attrgetter"),
        "class": (subprocess.Popen, r"(commands|subprocess)\.Popen"),
        "torch.load": (Calls(torch.load, str(mark)), r"torch\.serialization\.load"),
        "storage": (Calls(load, storage_of(touch)), r"posix\.system, inside of a tensor"),
        "objects": (array, "numpy.dtype\\('O8?'\\)"),
        "object state": (Calls(np.load, str(mark), None, True), "numpy.*load"),
        "getattr": (Calls(getattr, 1, "real"), r"(__builtin__|builtins)\.getattr"),
        "codec": (Calls(__import__("_codecs").encode, "a", "rot13"), "the encoding 'rot13'"),
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", sorted(evil(Path("/"))))
def test_what_is_not_known_is_refused_and_not_executed(
    name: str, protocol: int, tmp_path: Path
) -> None:
    value, named = evil(tmp_path / "mark")[name]
    with pytest.raises(UnsafePickle, match=rf"the pickle here names {named}.*nothing of it was"):
        safe_pickle.read_pickle(pickle.dumps(value, protocol), "here")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'true'\no.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "os.system"),
        # Dotted names, which pickle walks from protocol 4 on.
        (b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.", "OrderedDict.__init__"),
        (b"Pnumber one\n.", "an object outside of itself, 'number one'"),
        (b"\x80\x02\x82\x07.", "the extension 7"),
        (b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "a constructor with keywords"),
        # The results of calls are not called, and nothing is set on a function.
        (b"ccollections\nOrderedDict\n(tR(tR.", "a call of OrderedDict"),
        (b"ccollections\nOrderedDict\n}S'__call__'\nI1\nsb.", "a state for Global"),
        (b"I3\n}b.", "a state for int"),
        (b"cnumpy\ndtype\n(S'O'\ntR.", "numpy.dtype"),
        (b"cnumpy\nndarray\n(I9999\ntR.", "numpy.ndarray"),
    ],
)
def test_instructions_that_call(data: bytes, named: str) -> None:
    with pytest.raises(UnsafePickle, match=f"names .*{named}"):
        safe_pickle.read_pickle(data, "here")


def test_an_extension_that_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(copyreg._inverted_registry, 7, ("os", "system"))
    monkeypatch.setitem(copyreg._extension_cache, 7, os.system)
    with pytest.raises(UnsafePickle, match="the extension 7"):
        safe_pickle.read_pickle(b"\x80\x02\x82\x07.", "here")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cut_off(protocol: int) -> None:
    whole = pickle.dumps({"a": np.arange(5.0), "b": ["text", b"\0" * 300, 1 << 90]}, protocol)
    lengths = [n for n in range(len(whole)) if not whole[:n].endswith(pickle.STOP)]
    assert len(lengths) > 300
    for length in lengths:
        with pytest.raises(StorageError, match="there is cut off"):
            safe_pickle.read_pickle(whole[:length], "there")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",  # a bytearray of a terabyte
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b".",
        b"c__builtin__\nbytearray\n(I1099511627776\ntR.",
        b"c__builtin__\nbytes\n(I1099511627776\ntR.",
        pickle.dumps(np.zeros(3), 2).replace(b"K\x03\x85", b"K\x09\x85"),  # a longer shape
        pickle.dumps(torch.zeros(3), 4).replace(b"K\x00K\x03\x85", b"K\x00K\x09\x85"),
        pickle.dumps(torch.zeros(3), 4).replace(b"K\x00K\x03\x85", b"K\x01K\x03\x85"),
        b"h\x07.",
        b"0.",
    ],
)
def test_damaged(data: bytes) -> None:
    with pytest.raises(StorageError, match=rf"there is .*\({len(data)} bytes\); get the file"):
        safe_pickle.read_pickle(data, "there")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nvidias_objects(protocol: int) -> None:
    tensors = {"fc.weight": torch.eye(2), "fc.mean": torch.zeros(2), "gain": torch.tensor(2.0)}
    written = nvidia_pickles.network(
        "Generator", tensors, buffers=("mean",), z_dim=8, kwargs=EasyDict(gain=np.sqrt(2))
    )
    data = nvidia_pickles.dumps({"G_ema": written, "options": EasyDict(a=1)}, protocol)
    again = safe_pickle.read_pickle(data, "here")
    assert type(again["options"]) is dict
    assert again["options"] == {"a": 1}
    module = again["G_ema"]
    assert isinstance(module, PickledObject)
    assert module.class_name == "Generator"
    assert module.state["_init_kwargs"] == {"z_dim": 8, "kwargs": {"gain": np.sqrt(2)}}
    found = safe_pickle.module_tensors(module)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in found)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_modules_of_torch_and_networks_of_tensorflow(protocol: int) -> None:
    sequential = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm2d(3))
    written = Network(version=4, variables=[("w", np.ones(2))], components=EasyDict())
    data = nvidia_pickles.dumps((sequential, written), protocol)
    module, stub = safe_pickle.read_pickle(data, "here")
    assert module.class_name == "torch.nn.modules.container.Sequential"
    found, expected = safe_pickle.module_tensors(module), sequential.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert stub.class_name == safe_pickle.TENSORFLOW_NETWORK
    assert stub.state["components"] == {}
    assert stub.state["variables"][0][0] == "w"


@pytest.mark.parametrize(
    "name",
    [
        "pg_modules.networks_fastgan Generator",
        "timm.models.efficientnet_blocks InvertedResidual",
        "timm.models.layers.conv2d_same Conv2dSame",
        "torch.nn.utils.spectral_norm SpectralNorm",
        "torch.nn.quantized.modules.functional_modules FloatFunctional",
        "torch.ao.nn.quantized.modules.functional_modules FloatFunctional",
    ],
)
def test_classes_in_the_files_of_projected_gan(name: str) -> None:
    module, kind = name.split()
    data = b"\x80\x02c%b\n%b\n)\x81}U\x01aK\x01sb." % (module.encode(), kind.encode())
    read = safe_pickle.read_pickle(data, "here")
    assert (read.class_name, read.state) == (f"{module}.{kind}", {"a": 1})


def test_the_empty_state_that_older_pythons_wrote() -> None:
    data = b"\x80\x02cdnnlib.util\nEasyDict\n)\x81(U\x01aK\x01u}b."
    assert safe_pickle.read_pickle(data, "here") == {"a": 1}


def test_arrays_are_read_without_torch() -> None:
    code = (
        "import sys, pickle, numpy; from raymetrics import safe_pickle;"
        "safe_pickle.read_pickle(pickle.dumps({'mu': numpy.zeros(3)}), 'here');"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
