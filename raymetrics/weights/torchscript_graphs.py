"""Inspect the graphs of a TorchScript program after torch has compiled it and before it runs.

A program's text can spell a name in many ways; in the compiled graphs every operator has one name.
These names are compared with `torchscript_operators`. Operators trust the types that the compiler
assigned to their arguments, so two places where a file could lie about a type are inspected too:
casts that torch does not verify, and the attributes of modules, which torch takes from the file
without a check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from raymetrics.weights.torchscript_operators import OPERATORS

_SCALARS: dict[str, tuple[type, ...]] = {
    "TensorType": (torch.Tensor,),
    "IntType": (int,),
    "FloatType": (float,),
    "NumberType": (int, float, complex),
    "ComplexType": (complex,),
    "BoolType": (bool,),
    "StringType": (str,),
    "NoneType": (type(None),),
    "DeviceObjType": (torch.device,),
}
_CONTAINERS = ("OptionalType", "ListType", "DictType")


def find_forbidden(functions: Callable[[], Iterable[Any]], module: Any) -> str | None:
    """Describe the first thing in a compiled program that raymetrics does not run, or return None.

    functions: returns all compiled functions and methods; module: the loaded torch._C.ScriptModule.
    """
    nodes = [node for function in functions() for node in _iterate_nodes(function.graph)]
    for node in nodes:
        if not _is_known(node):
            return f"calls {_signature(node)}"
        if node.kind() == "prim::unchecked_cast" and not _is_safe_cast(node):
            return f"takes {node.input().type()} for {node.output().type()} without a check"
    return _find_wrong_attribute(module, [n for n in nodes if n.kind() == "prim::GetAttr"])


def _iterate_nodes(graph: Any) -> Iterator[Any]:
    """Yield all nodes of a graph, including nodes in branches, loops and inner graphs."""
    waiting = list(graph.nodes())
    while waiting:
        node = waiting.pop()
        yield node
        for block in node.blocks():
            waiting += block.nodes()
        for name in node.attributeNames():
            if node.kindOf(name) in ("g", "gs"):
                inner_graphs = [node.g(name)] if node.kindOf(name) == "g" else node.gs(name)
                waiting += [x for inner_graph in inner_graphs for x in inner_graph.nodes()]


def _is_known(node: Any) -> bool:
    """Return whether OPERATORS has the node's operator: by its name, or by its overload alone."""
    signature = _signature(node)
    name, _, overload = signature.partition(".")
    if f"{name}.{overload}" in OPERATORS:
        return True
    if f"{name}.vec" in OPERATORS:
        return not overload and _lets_sizes_decide(node)
    return name in OPERATORS


def _lets_sizes_decide(node: Any) -> bool:
    """Return whether a resizing operator is called without scale factors.

    The operator would take factors without comparing them with the sizes; factors are its only
    arguments that may be None.
    """
    decided = ("TensorType", "ListType", "BoolType")
    return all(x.type().kind() in decided or x.node().mustBeNone() for x in node.inputs())


def _signature(node: Any) -> str:
    """Return the operator with its overload, such as aten::add.Tensor; aten::view has none."""
    kind: str = node.kind()
    schema = node.schema()
    name = schema.partition("(")[0]
    return name if name.partition(".")[0] == kind else kind


def _is_safe_cast(node: Any) -> bool:
    """Return whether torch verifies later what the cast takes for granted.

    torch verifies the type where a number, a text, a list or a tensor is read, but neither where an
    attribute of an object is read nor where a tuple is unpacked: there the value must have the
    declared type.
    """
    before, after = node.input().type(), node.output().type()
    if before.kind() == "OptionalType" and before.getElementType().isSubtypeOf(after):
        return True
    return after.kind() == "AnyType" or _is_plain(after)


def _is_plain(kind: Any) -> bool:
    """Return whether values of a type contain only scalars, texts and tensors, or lists of them."""
    return kind.kind() in _SCALARS or (
        kind.kind() in _CONTAINERS and all(_is_plain(inner) for inner in kind.containedTypes())
    )


def _find_wrong_attribute(module: Any, readers: list[Any]) -> str | None:
    """Describe the first attribute whose value lacks the type that its readers expect.

    Return None if there is no such attribute.
    """
    declared: dict[str, dict[str, Any]] = {}
    for node in readers:
        name = node.input().type().annotation_str
        declared.setdefault(name, {})[node.s("name")] = node.output().type()
    waiting, seen = [module], set()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for name, kind in declared.get(current._type().annotation_str, {}).items():
            value = current.getattr(name)
            if not _conforms(value, kind):
                return f"holds something else than {kind} in the attribute {name!r}"
            if isinstance(value, torch._C.ScriptModule):
                waiting.append(value)
    return None


def _conforms(value: Any, kind: Any) -> bool:
    """Return whether a value from a file is of a TorchScript type."""
    name = kind.kind()
    if name in _SCALARS:
        return type(value) in _SCALARS[name] or (name == "TensorType" and _is_dense(value))
    if name == "OptionalType":
        return value is None or _conforms(value, kind.getElementType())
    if name == "ListType":
        return type(value) is list and all(_conforms(x, kind.getElementType()) for x in value)
    if name == "DictType":
        pairs = value.items() if type(value) is dict else [(None, None)]
        return all(
            _conforms(x, kind.getKeyType()) and _conforms(y, kind.getValueType()) for x, y in pairs
        )
    if name == "TupleType":
        kinds = kind.elements()
        return (
            type(value) is tuple and len(value) == len(kinds) and all(map(_conforms, value, kinds))
        )
    return isinstance(value, torch._C.ScriptModule) and value._type().isSubtypeOf(kind)


def _is_dense(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided
