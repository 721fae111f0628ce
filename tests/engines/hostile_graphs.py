"""Graphs that a stranger could put into an artifact, each with the words that refuse it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SECRET = b"a private key of 78 bytes, which nobody but its owner may ever see or send on."
DATA = "model.onnx.data"


@dataclass(frozen=True)
class Attack:
    """Changes a model and its folder; ``listed`` are files that the manifest names then, hashes and
    all.

    ``model`` is where the changed model goes, and what the manifest names.
    """

    name: str
    change: Callable[[onnx.ModelProto, Path], None]
    words: str
    listed: tuple[str, ...] = ()
    model: str = "model.onnx"


def external(model: onnx.ModelProto, index: int = 0, /, **entries: object) -> None:
    """Moves an initialiser into a file; ``entries`` replace those of an export."""
    tensor = model.graph.initializer[index]
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": DATA, "offset": 0, "length": size} | entries).items():
        tensor.external_data.add(key=key, value=str(value))


def largest(model: onnx.ModelProto) -> int:
    return int(np.argmax([len(tensor.raw_data) for tensor in model.graph.initializer]))


def secret(folder: Path) -> Path:
    """A file outside the artifact."""
    path = secret_path(folder)
    path.write_bytes(SECRET)
    return path


def secret_path(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.secret"


def add(model: onnx.ModelProto, *nodes: onnx.NodeProto, **constants: object) -> None:
    """Puts nodes in front of the graph; what they give to ``bomb`` is added to the logits."""
    graph = model.graph
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old])


def used(model: onnx.ModelProto, name: str) -> None:
    """Makes the logits depend on a value: its sum, times nothing, is added to them."""
    graph = model.graph
    last = next(node for node in graph.node if "logits" in node.output)
    last.output[list(last.output).index("logits")] = "logits_before"
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
    graph.node.append(helper.make_node("ReduceSum", [name], ["bomb_sum"], keepdims=0))
    graph.node.append(helper.make_node("Mul", ["bomb_sum", "nothing"], ["bomb_term"]))
    graph.node.append(helper.make_node("Add", ["logits_before", "bomb_term"], ["logits"]))


def bomb(*nodes: onnx.NodeProto, **constants: object) -> Callable[[onnx.ModelProto, Path], None]:
    def change(model: onnx.ModelProto, _: Path) -> None:
        add(model, *nodes, **constants)
        used(model, "bomb")

    return change


def node(
    kind: str, inputs: Sequence[str], output: str = "bomb", **attributes: Any
) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [output], **attributes)


def empty_graph(
    kind: str, nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.GraphProto:
    types: dict[str, tuple[int, list[int]]] = {
        "i": (TensorProto.INT64, []),
        "go": (TensorProto.BOOL, []),
        "go_on": (TensorProto.BOOL, []),
    }
    given, made = (
        [helper.make_tensor_value_info(n, *types.get(n, (TensorProto.FLOAT, []))) for n in names]
        for names in (inputs, outputs)
    )
    return helper.make_graph(list(nodes), kind, given, made)


def absolute(model: onnx.ModelProto, folder: Path) -> None:
    model.graph.initializer[0].CopyFrom(
        helper.make_tensor("x", TensorProto.INT8, [len(SECRET)], SECRET, raw=True)
    )
    external(model, 0, location=secret(folder))


def from_root(model: onnx.ModelProto, folder: Path) -> None:
    absolute(model, folder)
    model.graph.initializer[0].external_data[0].value = str(secret(folder)).lstrip("/")


def unlisted(model: onnx.ModelProto, folder: Path) -> None:
    listed_data(model, folder)
    tensor = model.graph.initializer[0]
    (folder / "other.data").write_bytes(tensor.raw_data)
    external(model, 0, location="other.data")


def hard_link(model: onnx.ModelProto, folder: Path) -> None:
    unlisted(model, folder)
    (folder / "other.data").unlink()
    os.link(secret(folder), folder / "other.data")


def listed_data(model: onnx.ModelProto, folder: Path, **entries: object) -> None:
    index = largest(model)
    (folder / DATA).write_bytes(model.graph.initializer[index].raw_data)
    external(model, index, **entries)


def symbolic_link(model: onnx.ModelProto, folder: Path) -> None:
    unlisted(model, folder)
    (folder / "other.data").unlink()
    (folder / "other.data").symlink_to(secret(folder))


def unlisted_fifo(model: onnx.ModelProto, folder: Path) -> None:
    listed_data(model, folder)
    os.mkfifo(folder / "pipe.data")
    external(model, 0, location="pipe.data")


def twice(model: onnx.ModelProto, folder: Path) -> None:
    listed_data(model, folder)
    copy = model.graph.initializer.add()
    copy.CopyFrom(model.graph.initializer[largest_external(model)])
    copy.name = "again"


def largest_external(model: onnx.ModelProto) -> int:
    return next(i for i, tensor in enumerate(model.graph.initializer) if tensor.external_data)


def in_a_subfolder(place: Callable[[Path, Path], None]) -> Callable[[onnx.ModelProto, Path], None]:
    """The model is in ``a/``; its data lies below the manifest, and other data below the model."""

    def change(model: onnx.ModelProto, folder: Path) -> None:
        index = largest(model)
        data = model.graph.initializer[index].raw_data
        (folder / "a" / "a").mkdir(parents=True)
        (folder / "a" / DATA).write_bytes(data)
        external(model, index, location=f"a/{DATA}")
        secret(folder).write_bytes(SECRET.ljust(len(data)))
        place(secret_path(folder), folder / "a" / "a" / DATA)

    return change


def with_range(**entries: object) -> Callable[[onnx.ModelProto, Path], None]:
    return lambda model, folder: listed_data(model, folder, **entries)


def attribute_data(model: onnx.ModelProto, folder: Path) -> None:
    tensor = helper.make_tensor("x", TensorProto.INT8, [len(SECRET)], SECRET, raw=True)
    add(model, node("Constant", [], value=tensor))
    constant = model.graph.node[0].attribute[0].t
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    constant.external_data.add(key="location", value=str(secret(folder)))


def sparse(model: onnx.ModelProto, _: Path) -> None:
    values = helper.make_tensor("huge", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("at", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 40]))


def loop(model: onnx.ModelProto, _: Path) -> None:
    body = empty_graph(
        "body",
        [node("Identity", ["go"], "go_on"), node("Identity", ["x"], "y")],
        ["i", "go", "x"],
        ["go_on", "y"],
    )
    add(
        model,
        node("Loop", ["times", "", "one"], body=body),
        times=np.int64(1 << 60),
        one=np.float32(1),
    )
    used(model, "bomb")


def nested_ifs(model: onnx.ModelProto, _: Path) -> None:
    inner = node("Identity", ["one"], "y30")
    for depth in reversed(range(30)):
        plain = node("Identity", ["one"], f"y{depth + 1}")
        branches = {
            name: empty_graph(name, [inside], [], [f"y{depth + 1}"])
            for name, inside in {"then_branch": inner, "else_branch": plain}.items()
        }
        inner = node("If", ["yes"], f"y{depth}" if depth else "bomb", **branches)
    add(model, inner, yes=np.bool_(True), one=np.float32(1))
    used(model, "bomb")


def functions(model: onnx.ModelProto, _: Path) -> None:
    """Of which each calls the next one twice."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("d", 1)]
    for depth in range(40):
        one = helper.make_node(
            f"f{depth + 1}" if depth < 39 else "Identity",
            ["x"],
            ["m"],
            domain="d" if depth < 39 else "",
        )
        two = helper.make_node(
            f"f{depth + 1}" if depth < 39 else "Identity",
            ["m"],
            ["y"],
            domain="d" if depth < 39 else "",
        )
        model.functions.append(
            helper.make_function("d", f"f{depth}", ["x"], ["y"], [one, two], opsets)
        )
    model.opset_import.append(helper.make_opsetid("d", 1))
    add(model, helper.make_node("f0", ["one"], ["bomb"], domain="d"), one=np.float32(1))
    used(model, "bomb")


def doubling() -> list[onnx.NodeProto]:
    steps = [node("Concat", [f"c{i}", f"c{i}"], f"c{i + 1}", axis=0) for i in range(40)]
    return [*steps[:-1], node("Concat", ["c39", "c39"], axis=0)]


def chain_of_products() -> list[onnx.NodeProto]:
    """Each as large as allowed, all of them work."""
    steps = [node("MatMul", [f"p{i}", "square"], f"p{i + 1}") for i in range(100)]
    return [*steps, node("Relu", ["p100"])]


def lying_shape(model: onnx.ModelProto, _: Path) -> None:
    model.graph.initializer[0].dims[:] = [1 << 40]


def lying_hint(model: onnx.ModelProto, _: Path) -> None:
    name = model.graph.node[0].output[0]
    kept = [value for value in model.graph.value_info if value.name != name]
    del model.graph.value_info[:]
    model.graph.value_info.extend(
        [*kept, helper.make_tensor_value_info(name, TensorProto.FLOAT, [1 << 40])]
    )


def lying_input(model: onnx.ModelProto, _: Path) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 40


def other_domain(model: onnx.ModelProto, _: Path) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    add(
        model,
        helper.make_node(
            "EPContext", [], ["bomb"], domain="com.microsoft", ep_cache_context="/etc/passwd"
        ),
    )


def domain_without_import(model: onnx.ModelProto, _: Path) -> None:
    model.graph.node[3].domain = "com.microsoft"


def old_operators(model: onnx.ModelProto, _: Path) -> None:
    model.opset_import[0].version = 7


def training(model: onnx.ModelProto, _: Path) -> None:
    model.training_info.add().algorithm.CopyFrom(model.graph)


def nested_types(model: onnx.ModelProto, _: Path) -> None:
    value = model.graph.value_info.add(name=model.graph.node[0].output[0])
    kind = value.type
    for _unused in range(90):
        kind = kind.sequence_type.elem_type
    kind.tensor_type.elem_type = 1


def a_thousand_nodes(model: onnx.ModelProto, _: Path) -> None:
    add(model, *(node("Relu", ["one"], f"r{i}") for i in range(1_000)), one=np.float32(1))


def long_attribute(model: onnx.ModelProto, _: Path) -> None:
    add(model, node("Transpose", ["one"], perm=[20_000] * 200_000), one=np.float32(1))


def a_node_of_many_inputs(model: onnx.ModelProto, _: Path) -> None:
    add(model, node("Concat", ["one"] * 100_000, axis=0), one=np.float32(1))


def many_shapes(model: onnx.ModelProto, _: Path) -> None:
    shape = helper.make_tensor_value_info(model.graph.input[0].name, TensorProto.FLOAT, [1] * 8)
    model.graph.value_info.extend([shape] * 20_000)


def long_names(model: onnx.ModelProto, _: Path) -> None:
    add(model, node("Relu", ["x" * 4_000]))


def packed_numbers(model: onnx.ModelProto, _: Path) -> None:
    model.graph.initializer.append(
        helper.make_tensor("zeros", TensorProto.INT8, [2 << 20], np.zeros(2 << 20, np.int8))
    )


def shapes_that_double() -> list[onnx.NodeProto]:
    """What a shape is made of, times eight with each node, and the result many times over."""
    grown = [node("Concat", [f"n{i}"] * 8, f"n{i + 1}", axis=0) for i in range(3)]
    kept = [node("Concat", ["n3"], f"k{i}", axis=0) for i in range(200)]
    return [*grown, *kept, node("Expand", ["x", "n3"])]


def a_hollow_model(model: onnx.ModelProto, _: Path) -> None:
    del model.graph.initializer[:]


N = np.zeros((100_000, 1), np.float32)
ROW = np.zeros((1, 100_000), np.float32)

ATTACKS: tuple[Attack, ...] = (
    Attack("absolute-path", absolute, "which is not a model.onnx.data"),
    Attack("path-from-the-root", from_root, "which is not a model.onnx.data"),
    Attack("an-unlisted-file", unlisted, "'other.data', which is not a model.onnx.data", (DATA,)),
    Attack("a-hard-link", hard_link, "'other.data', which is not a model.onnx.data", (DATA,)),
    Attack(
        "a-symbolic-link", symbolic_link, "'other.data', which is not a model.onnx.data", (DATA,)
    ),
    Attack(
        "an-unlisted-fifo", unlisted_fifo, "'pipe.data', which is not a model.onnx.data", (DATA,)
    ),
    Attack(
        "data-that-is-not-listed", listed_data, "is not a model.onnx.data that the manifest lists"
    ),
    Attack(
        "a-parent-folder", with_range(location=f"../{DATA}"), "is not a model.onnx.data", (DATA,)
    ),
    Attack(
        "a-dot-in-the-path", with_range(location=f"./{DATA}"), "is not a model.onnx.data", (DATA,)
    ),
    *(
        Attack(
            f"subfolder-{name}",
            in_a_subfolder(place),
            f"'a/{DATA}', which is not a {DATA}",
            (f"a/{DATA}",),
            model="a/model.onnx",
        )
        for name, place in {
            "file": lambda source, path: path.write_bytes(source.read_bytes()),
            "symlink": lambda source, path: path.symlink_to(source),
            "hard-link": os.link,
            "fifo": lambda _, path: os.mkfifo(path),
        }.items()
    ),
    Attack("beyond-the-end", with_range(offset=4), "lies outside", (DATA,)),
    Attack("a-negative-offset", with_range(offset=-4), "is not a number", (DATA,)),
    Attack("a-huge-offset", with_range(offset=1 << 62), "is not a number", (DATA,)),
    Attack("too-long", with_range(length=1 << 40), "its shape asks for", (DATA,)),
    Attack(
        "an-unknown-key", with_range(basepath="/"), "exactly location, offset and length", (DATA,)
    ),
    Attack("a-range-twice", twice, "lies outside", (DATA,)),
    Attack("data-of-an-attribute", attribute_data, "an attribute has a tensor, which"),
    Attack("sparse", sparse, "a graph has sparse tensors"),
    Attack("loop", loop, "an attribute has a subgraph"),
    Attack("nested-ifs", nested_ifs, "an attribute has a subgraph"),
    Attack("functions", functions, "a model has functions of its own"),
    Attack("training", training, "a model has training"),
    Attack(
        "constant-of-shape",
        bomb(node("ConstantOfShape", ["s"]), s=np.array([1 << 40])),
        "operator 'ConstantOfShape'",
    ),
    Attack(
        "range",
        bomb(node("Range", ["a", "b", "c"]), a=np.float32(0), b=np.float32(1e12), c=np.float32(1)),
        "'Range'",
    ),
    Attack(
        "tile",
        bomb(node("Tile", ["x", "n"]), x=np.zeros(4, np.float32), n=np.array([1 << 38])),
        "operator 'Tile'",
    ),
    Attack(
        "expand",
        bomb(node("Expand", ["x", "s"]), x=np.float32(1), s=np.array([1 << 20, 1 << 20])),
        "elements",
    ),
    Attack("outer-sum", bomb(node("Add", ["x", "y"]), x=N, y=ROW), "elements"),
    Attack("outer-product", bomb(node("MatMul", ["x", "y"]), x=N, y=ROW), "elements"),
    Attack("doubling", bomb(*doubling(), c0=np.zeros(64, np.float32)), "elements"),
    Attack(
        "work-without-end",
        bomb(
            *chain_of_products(),
            p0=np.zeros((1000, 1000), np.float32),
            square=np.zeros((1000, 1000), np.float32),
        ),
        "computes more than",
    ),
    Attack(
        "pad",
        bomb(
            node("Pad", ["x", "s", "zero"]), x=N, s=np.array([0, 0, 0, 1 << 30]), zero=np.float32(0)
        ),
        "elements",
    ),
    Attack(
        "resize",
        bomb(
            node("Resize", ["x", "", "", "s"]),
            x=np.zeros((1, 1, 4, 4), np.float32),
            s=np.array([1, 1, 1 << 18, 1 << 18]),
        ),
        "elements",
    ),
    Attack(
        "padded-convolution",
        bomb(
            node(
                "Conv",
                ["x", "w"],
                strides=[1 << 20] * 2,
                pads=[1 << 20] * 4,
                dilations=[1, 1],
                group=1,
            ),
            x=np.zeros((1, 1, 4, 4), np.float32),
            w=np.zeros((1, 1, 1, 1), np.float32),
        ),
        "takes more memory",
    ),
    Attack(
        "shape-from-data",
        bomb(
            node("Add", ["a", "a"], "s"),
            node("Expand", ["x", "s"]),
            x=np.float32(1),
            a=np.array([1 << 39]),
        ),
        "computes a shape from its data",
    ),
    Attack("a-lying-shape", lying_shape, "its shape asks for"),
    Attack("a-lying-hint", lying_hint, "another shape than its nodes do"),
    Attack("a-lying-input", lying_input, "elements"),
    Attack("another-domain", other_domain, "uses the operators"),
    Attack("a-domain-of-a-node", domain_without_import, "of the domain 'com.microsoft'"),
    Attack("old-operators", old_operators, "uses the operators"),
    Attack("nested-types", nested_types, "a type has the field 4"),
    Attack("many-nodes", a_thousand_nodes, "nodes and"),
    Attack("long-attribute", long_attribute, "an attribute has the field 8 too often"),
    Attack("many-inputs", a_node_of_many_inputs, "a node has the field 1 too often"),
    Attack("many-shapes", many_shapes, "more than 100,000 fields in all"),
    Attack("long-names", long_names, "a name of 4,000 bytes; at most 256"),
    Attack("packed-numbers", packed_numbers, "more packed numbers than any export"),
    Attack(
        "shapes-that-double",
        bomb(*shapes_that_double(), n0=np.ones(64, np.int64), x=np.float32(1)),
        "computes a shape from its data",
    ),
    Attack("no-weights", a_hollow_model, "its configuration has"),
)
"""By name; every one of these is refused by its words before a parser sees it."""
