"""Compose pickles of instructions and names that the reader knows, with hostile numbers.

Every number that a storage or an array is given has bytes of 0 and 1 alone, so that anything
else in what comes out is foreign memory.
"""

from __future__ import annotations

import io
import math
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

STORAGES = {
    "FloatStorage": 4, "BFloat16Storage": 2, "HalfStorage": 2, "DoubleStorage": 8,
    "LongStorage": 8, "ByteStorage": 1, "BoolStorage": 1, "ComplexDoubleStorage": 16,
}  # fmt: skip
NUMBERS = [
    -(2**63), -(2**61), -(2**31), -4096, -2, -1, 0, 1, 2, 3, 4, 7, 9, 17, 255, 4096, 2**15, 2**31,
    2**32, 2**52, 2**60, 2**61, 2**62, 2**63 - 1, 2**63, 2**64, 2**200,
]  # fmt: skip
OTHER_VALUES = [None, True, False, 0.0, 1.0, -1.0, math.nan, math.inf, "1", b"1", (), (1,)]
SCALARS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "?", ">i8"]
DTYPES = ["f4", "f8", "f2", "i1", "i8", "u8", "?", "c8", "S3", "U2", "U0", "S", "f16", "<f4", "u1"]
GLOBALS = [
    ("builtins", "dict"), ("builtins", "list"), ("builtins", "set"), ("builtins", "frozenset"),
    ("builtins", "complex"), ("builtins", "bytes"), ("builtins", "bytearray"),
    ("builtins", "object"), ("collections", "OrderedDict"), ("dnnlib", "EasyDict"),
    ("copyreg", "_reconstructor"), ("_codecs", "encode"), ("numpy", "dtype"), ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"), ("torch", "Size"), ("torch", "device"),
    ("torch", "float32"), ("torch", "int8"), ("torch.jit._pickle", "build_intlist"),
    ("torch.jit._pickle", "restore_type_tag"), ("torch.storage", "_load_from_bytes"),
    ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter"),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"),
    ("torch.nn.modules.linear", "Linear"), ("__torch__.a", "Net"),
    ("dnnlib.tflib.network", "Network"), *(("torch", name) for name in STORAGES),
]  # fmt: skip
NAMES = ["mu", "sigma", "_parameters", "_modules", "weight", "G_ema", "class_name", "state", "a"]
LENGTH = 240  # bytes of every storage


def literal(value: Any) -> bytes:
    """Return the instructions for a plain value or a number of numpy's, without the memo."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 2)
    pickler.fast = True
    pickler.dump(value)
    return buffer.getvalue()[2:-1]


def push_global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(function: tuple[str, str], *args: bytes) -> bytes:
    return push_global(*function) + b"(" + b"".join(args) + b"tR"


class Programs:
    """A composer of programs, one after another, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.memo = 0
        self.old = False
        self.intact = True  # whether all numbers are of bytes 0 and 1 still
        self.hostility = self.pick([0, 0.1, 0.5, 1, 3])

    def compose_pickle(self, old: bool = False) -> bytes:
        """Compose a whole pickle; old: with storages as in torch.save's old files."""
        self.memo, self.old = 0, old
        start = self.random.choice([b"", b"\x80\x02", b"\x80\x04", b"\x80\x05"])
        roots: list[Callable[[], bytes]] = [
            lambda: b"}(" + self.pairs(3) + b"u",
            lambda: b"](" + b"".join(self.value(3) for _ in range(self.random_count(6))) + b"e",
            lambda: self.module(3),
            lambda: self.value(4),
        ]
        return start + self.pick(roots)() + b"."

    def damage(self, data: bytes) -> bytes:
        """Change a few bytes of a pickle, now and then."""
        changed = bytearray(data)
        while self.is_unfit(0.2):
            self.intact = False
            changed[self.random.randrange(len(changed))] = self.random.randrange(256)
        return bytes(changed)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def is_unfit(self, probability: float) -> bool:
        """Decide whether to compose something wrong; never in some of the programs."""
        return self.chance(min(0.8, probability * self.hostility))

    def pick(self, choices: Any) -> Any:
        return self.random.choice(choices)

    def random_count(self, maximum: int) -> int:
        return self.random.randint(0, maximum)

    def number(self, sensible: int) -> bytes:
        """Compose mostly the sensible number, at times as one of numpy's, else anything."""
        if self.is_unfit(0.05):
            return self.hostile_value()
        return literal(np.int16(sensible)) if self.chance(0.1) else literal(sensible)

    def hostile_value(self) -> bytes:
        if self.chance(0.3):
            return literal(self.pick(OTHER_VALUES))
        number = self.pick(NUMBERS)
        return self.numpy_scalar(number) if self.chance(0.5) else literal(number)

    def numpy_scalar(self, number: int) -> bytes:
        """Compose a scalar of some width, into which the number may not fit."""
        raw = (number % 2**64).to_bytes(8, "little")
        dtype = np.dtype(self.pick(SCALARS))
        return literal(np.frombuffer(raw[: dtype.itemsize], dtype)[0])

    def numbers(self, sensible: tuple[int, ...]) -> bytes:
        if self.is_unfit(0.03):
            return self.value(1)
        many = 70 if self.is_unfit(0.01) else 1
        return b"(" + b"".join(self.number(n) for n in sensible) * many + b"t"

    def value(self, depth: int) -> bytes:
        """Compose any value, which may go into the memo and be changed by an instruction."""
        makers = [self.memo_reference, self.text]
        if self.is_unfit(0.3):
            makers = [
                self.hostile_value,
                self.tower,
                *[lambda: self.random_call(depth)] * (depth > 0),
            ]
        elif depth > 0:
            makers += [lambda: self.container(depth), lambda: self.module(depth)]
            makers += [self.tensor, self.array, self.buffer, self.dtype, self.storage] * 2
        code = self.pick(makers)()
        if self.chance(0.3):
            code += self.put()
        while depth >= 0 and self.is_unfit(0.1):
            code += self.change_value(depth - 1)
        return code

    def put(self) -> bytes:
        if self.is_unfit(0.03):
            return b"p%d\n" % self.pick(NUMBERS)
        self.memo += 1
        return b"r" + struct.pack("<I", self.memo)

    def memo_reference(self) -> bytes:
        return b"j" + struct.pack("<I", self.random.randint(1, self.memo)) if self.memo else b"N"

    def text(self) -> bytes:
        text = self.pick(["", "a", "\x1b[2J\n", "\x01" * self.random_count(300), *NAMES])
        return literal(self.pick([text, text.encode(), bytearray(text.encode())]))

    def tower(self) -> bytes:
        """Compose a tuple or a list that contains another value many times over."""
        double = self.pick([b"q\xff]h\xffah\xffa", b"q\xffh\xff\x86", b"q\xff(h\xffh\xffl"])
        return literal("x" * self.random_count(9)) + double * self.pick([1, 3, 20, 60, 300])

    def container(self, depth: int) -> bytes:
        if self.chance(0.1):
            return self.keys()
        if self.chance(0.5):
            ordered = call(("collections", "OrderedDict")) + b"("
            start, end = self.pick([(b"(", b"d"), (b"}(", b"u"), (ordered, b"u")])
            return start + self.pairs(depth - 1) + end
        start, end = self.pick([(b"(", b"t"), (b"](", b"e"), (b"(", b"l")])
        return start + b"".join(self.value(depth - 1) for _ in range(self.random_count(4))) + end

    def pairs(self, depth: int) -> bytes:
        return b"".join(
            (self.value(0) if self.is_unfit(0.1) else literal(self.pick(NAMES))) + self.value(depth)
            for _ in range(self.random_count(4))
        )

    def keys(self) -> bytes:
        """Compose a set or a frozenset, mostly of values that can be keys."""
        items = [self.value(1) if self.is_unfit(0.1) else literal(self.pick(NAMES)) for _ in NAMES]
        return self.pick([b"\x8f(" + b"".join(items) + b"\x90", b"(" + b"".join(items) + b"\x91"])

    def random_call(self, depth: int) -> bytes:
        """Compose a call of any name with any arguments, by any instruction that calls."""
        name = self.pick(GLOBALS)
        args = b"".join(self.value(depth - 1) for _ in range(self.random_count(4)))
        return self.pick(
            [
                call(name, args),
                call(name, args),
                push_global(*name) + b"(" + args + b"t\x81",
                b"(" + push_global(*name) + args + b"o",
                f"({{}}i{name[0]}\n{name[1]}\n".encode().replace(b"{}", args),
                push_global(*name) + b"(" + args + b"t}\x92",
                push_global(*name),
                args + b"\x98" if args else b"\x97",
                b"\x82\x01",
                b"Pa\n",
                args + b"NQ",
            ]
        )

    def change_value(self, depth: int) -> bytes:
        """Compose an instruction that changes the value before it, fit or unfit."""
        key, value = self.hostile_value(), self.value(depth)
        return self.pick(
            [
                key + value + b"s",
                b"(" + key + value + b"u",
                value + b"a",
                b"(" + value + b"e",
                b"(" + value + b"\x90",
                value + b"b",
                b"(" + value * 5 + b"tb",
                literal((3, self.pick("<>=|x"), None, None, None, *self.tail())) + b"b",
                self.state_of_array() + b"b",
            ]
        )

    def tail(self) -> list[int]:
        return [self.pick([-1, -1, *NUMBERS[5:12]]) for _ in range(2)] + [self.pick([0, 1, 63])]

    def dtype(self) -> bytes:
        text = self.pick(["O", "V8", "f4,f4", "M8[s]"] if self.is_unfit(0.1) else DTYPES)
        code = call(("numpy", "dtype"), literal(text), literal(False), literal(True))
        if not self.is_unfit(0.4):
            return code
        size = -1 if self.chance(0.7) else self.pick(NUMBERS)
        state = (self.pick([3, 4]), self.pick("<>|="), None, None, None, size, *self.tail()[1:])
        return code + literal(state if self.chance(0.5) else (*state[:6], -1, 0)) + b"b"

    def shape(self, count: int) -> tuple[int, ...]:
        """Choose sizes with this product."""
        shapes: list[tuple[int, ...]] = [(count,), (count, 1), (1, count, 1)]
        shapes += [(n, count // n) for n in (2, 3, 5) if count % n == 0]
        return self.pick([*shapes, ()] if count == 1 else shapes)

    def content(self, count: int) -> bytes:
        return bytes(self.random.choices([0, 1], k=count))

    def typed_content(self, count: int | None = None) -> tuple[bytes, bytes, int]:
        """Choose a dtype, bytes for it, and the count of their numbers."""
        text = self.pick(DTYPES[:10])
        width = np.dtype(text).itemsize or 1
        count = self.pick([0, 1, 6, 30]) if count is None else count
        content = bytes(count * width) if text == "U2" else self.content(count * width)
        if self.is_unfit(0.05):
            content += b"\xff"
        dtype_code = call(("numpy", "dtype"), literal(text), literal(False), literal(True))
        return (self.dtype() if self.is_unfit(0.1) else dtype_code), content, count

    def state_of_array(self) -> bytes:
        dtype, content, count = self.typed_content()
        raw = self.value(0) if self.is_unfit(0.05) else literal(content)
        shape = self.numbers(self.shape(count))
        return b"(" + self.number(1) + shape + dtype + self.number(0) + raw + b"t"

    def array(self) -> bytes:
        """Compose an array as numpy writes it in protocols 0 to 4."""
        kind = push_global("numpy", "ndarray")
        code = call(("numpy.core.multiarray", "_reconstruct"), kind, self.numbers((0,)), b"C\x01b")
        code += self.put() if self.chance(0.5) else b""
        return code + (self.state_of_array() + b"b") * (
            self.pick([0, 2]) if self.is_unfit(0.2) else 1
        )

    def buffer(self) -> bytes:
        """Compose an array as numpy writes it in protocol 5, or one of its numbers."""
        if self.chance(0.2):
            dtype, content, _ = self.typed_content(1)
            return call(("numpy.core.multiarray", "scalar"), dtype, literal(content))
        dtype, content, count = self.typed_content()
        raw = literal(self.pick([content, bytearray(content)]))
        shape = self.shape(count)
        order = self.pick(["A", "x", None, b"C"] if self.is_unfit(0.2) else "CFK")
        axes = self.numbers(tuple(reversed(range(len(shape))))) if order == "K" else b""
        return call(
            ("numpy._core.numeric", "_frombuffer"),
            raw,
            dtype,
            self.numbers(shape),
            literal(order),
            axes,
        )

    def storage(self, kind: str = "FloatStorage") -> bytes:
        """Compose a buffer outside of the pickle, inside of it, or something else."""
        if self.is_unfit(0.1):
            return self.value(0)
        count = LENGTH // STORAGES[kind]
        if self.old:
            return self.old_storage(count)
        if self.chance(0.3):
            content = self.storage_file(kind, count)
            return call(("torch.storage", "_load_from_bytes"), literal(self.damage(content)))
        key = self.value(0) if self.is_unfit(0.03) else literal(f"{kind}{self.random_count(1)}")
        parts = [
            literal("storage"),
            push_global("torch", kind),
            key,
            literal("cpu"),
            self.number(count),
        ]
        return b"(" + b"".join(parts) + b"tQ"

    def storage_file(self, kind: str, count: int) -> bytes:
        """Compose the record of a storage in torch.save's files before the zip format."""
        system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
        pid = self.old_storage(count, kind)
        heads = [literal(0x1950A86A20F9469CFC6C), literal(1001), literal(system), pid]
        written = self.pick(NUMBERS) % 2**63 if self.is_unfit(0.1) else count
        pickles = b"".join(b"\x80\x02" + head + b"." for head in [*heads, literal(["7"])])
        return pickles + struct.pack("<q", written) + self.content(LENGTH)

    def old_storage(self, count: int, kind: str = "FloatStorage") -> bytes:
        """Return the same name for every storage of a file."""
        view = self.hostile_value() if self.is_unfit(0.1) else b"N"
        parts = [literal("storage"), push_global("torch", kind), literal("7"), literal("cpu")]
        written = self.hostile_value() if self.is_unfit(0.05) else literal(count)
        return b"(" + b"".join(parts) + written + view + b"tQ"

    def tensor(self) -> bytes:
        kind = "FloatStorage" if self.old else self.pick([*STORAGES, "BFloat16Storage"])
        storage = self.storage(kind)
        count = self.pick([0, 1, 3, 6, 12])
        sizes = self.shape(count)
        steps = tuple(math.prod(sizes[i + 1 :]) for i in range(len(sizes)))
        code = call(
            ("torch._utils", "_rebuild_tensor_v2"), storage, self.number(self.pick([0, 0, 1, 3])),
            self.numbers(sizes), self.numbers(steps), literal(False),
            call(("collections", "OrderedDict")),
        )  # fmt: skip
        if self.chance(0.2):
            name = ("torch._utils", "_rebuild_parameter")
            code = call(name, code, literal(True), call(("collections", "OrderedDict")))
        return code

    def module(self, depth: int) -> bytes:
        """Compose a network of NVIDIA's, of torch.nn or of TorchScript."""
        tensors = b"}(" + b"".join(
            literal(self.pick(NAMES)) + self.tensor() for _ in range(self.random_count(2))
        ) + b"u"  # fmt: skip
        inner = b"}" + (literal("a") + self.module(depth - 1) + b"s" if depth > 0 else b"")
        state = b"}(" + literal("_parameters") + tensors + literal("_modules") + inner
        state += literal("weight") + self.value(depth - 1) + b"u"
        if self.chance(0.5):
            name = self.pick([("torch.nn.modules.linear", "Linear"), ("__torch__.a", "Net")])
            return push_global(*name) + b")\x81" + state + b"b"
        meta = b"}(" + literal("class_name") + literal("Generator") + literal("state") + state
        return call(("torch_utils.persistence", "_reconstruct_persistent_obj"), meta + b"u")

    def archive(self, data: bytes) -> bytes:
        """Write a file of torch.save or torch.jit.save around a pickle."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as zip_file:
            zip_file.writestr("net/data.pkl", data)
            zip_file.writestr("net/version", "3\n")
            if self.chance(0.5):
                zip_file.writestr("net/byteorder", "big" if self.is_unfit(0.05) else "little")
            if self.chance(0.5):
                program = 'class Net(Module):\n  __parameters__ = ["weight", "a", ]\n'
                zip_file.writestr("net/constants.pkl", b"\x80\x02).")
                zip_file.writestr("net/code/__torch__/a.py", program)
            for key in [f"{kind}{i}" for kind in STORAGES for i in range(2)]:
                length = (
                    self.pick([0, 1, LENGTH - 1, 4 * LENGTH]) if self.is_unfit(0.02) else LENGTH
                )
                zip_file.writestr(f"net/data/{key}", self.content(length))
        return buffer.getvalue()

    def old_file(self, data: bytes) -> bytes:
        """Write a file of torch.save, of the format before zip files, around a pickle."""
        whole = self.storage_file("FloatStorage", LENGTH // 4)
        start = whole.index(b"\x80\x02(")  # the pickle of the storage itself
        end = whole.index(b"Q.", start) + 2
        return whole[:start] + data + whole[end:]
