"""A large ViT on a CPU in FP32, BF16 and INT8 by OpenVINO; ``bench/vit_int8.sh`` runs it.

Random weights: they cost as much as learnt ones. INT8 is that of NNCF, of the linear layers alone,
and of what NNCF chooses itself. Each is opened in FP32 and, where the processor has instructions
for it, in BF16, which is then what INT8 leaves over is computed in.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openvino

from motivnet import schema
from motivnet.command_line import say
from motivnet.config import ModelConfig, image_size_from_text
from motivnet.errors import MotivNetError
from motivnet.files import make_folder, write_atomic
from motivnet.model import build_model
from motivnet.preprocess import Preprocessing
from motivnet.processors import count_usable_cores
from motivnet.schema import Schema
from motivnet.synthetic import synthetic_faces
from motivnet_engines.runtimes.openvino_ import has_bf16
from motivnet_engines.runtimes.openvino_layers import layers_of
from motivnet_engines.system.installed import installed_versions
from motivnet_engines.system.machine import read_machine
from motivnet_engines.verification.speed import measure_rounds
from motivnet_export.graph import save_onnx
from motivnet_export.precision import apply_precision
from motivnet_export.quantise.nncf_quantise import quantise_for_openvino
from motivnet_export.torch_to_onnx import onnx_from_model

_HINTS = {"FP32": "f32", "BF16": "bf16"}
_GRAPHS = {
    "float": "not quantised",
    "int8": "linear layers in INT8",
    "int8-all": "INT8 as NNCF chooses",
}
_CALIBRATION_IMAGES = 4


class Row(Schema, frozen=True, kw_only=True):
    """One graph in one dtype at one size; ``ratio`` is FP32's time by this one's, in each round."""

    image_size: tuple[int, int]
    tokens: int
    graph: str
    rest: str
    linear_layers: dict[str, int]
    split_attentions: int
    milliseconds: float
    ratio: float
    rounds: int


class Result(Schema, frozen=True, kw_only=True):
    """Everything that was measured, and on what."""

    model: str
    depth: int
    processor: str
    instructions: tuple[str, ...]
    cores: int
    tools: dict[str, str]
    rows: tuple[Row, ...]


def measure_size(config: ModelConfig, folder: Path) -> list[Row]:
    """Return a row per graph and dtype for the model's image size, in alternating rounds."""
    size = config.encoder.image_size
    preprocessing = Preprocessing.named("stretch", size=size)
    count = _CALIBRATION_IMAGES + 1
    faces = np.stack(list(synthetic_faces(count, seed=0, size=size, labels=["neutral"])))
    images = preprocessing.normalise(faces)
    paths = _write_graphs(config, preprocessing, images[1:], folder)
    dtypes = list(_HINTS) if has_bf16() else ["FP32"]
    core = openvino.Core()
    compiled = [
        (graph, dtype, core.compile_model(path, "CPU", _options(dtype)))
        for graph, path in paths.items()
        for dtype in dtypes
    ]
    requests = [model.create_infer_request() for _, _, model in compiled]
    calls = [lambda request=request: request.infer([images[:1]]) for request in requests]
    seconds = measure_rounds(calls)
    ratios = np.median(seconds[:, :1] / seconds, axis=0)
    return [
        Row(
            image_size=size,
            tokens=config.encoder.tokens,
            graph=graph,
            rest=dtype,
            linear_layers=(layers := layers_of(model)).linear,
            split_attentions=layers.split_attentions,
            milliseconds=1e3 * float(np.median(seconds[:, index])),
            ratio=float(ratios[index]),
            rounds=len(seconds),
        )
        for index, (graph, dtype, model) in enumerate(compiled)
    ]


def _write_graphs(
    config: ModelConfig, preprocessing: Preprocessing, images: Any, folder: Path
) -> dict[str, Path]:
    model = build_model(config, seed=0)
    apply_precision(model, "fp32")
    base = onnx_from_model(
        model,
        attention="fused",
        input_dtype="float32",
        any_size=False,
        preprocessing=preprocessing,
    )
    del model
    paths = {graph: folder / f"{graph}.onnx" for graph in _GRAPHS}
    save_onnx(base, paths["float"])
    quantise_for_openvino(base, paths["int8"], images=images)
    quantise_for_openvino(base, paths["int8-all"], images=images, everything=True)
    return paths


def _options(dtype: str) -> dict[str, str]:
    return {"INFERENCE_PRECISION_HINT": _HINTS[dtype], "PERFORMANCE_HINT": "LATENCY"}


def markdown_of(result: Result) -> str:
    """Return the result as a table in Markdown, below a line on the machine."""
    instructions = ", ".join(result.instructions) or "neither BF16 nor INT8 instructions"
    tools = ", ".join(f"{name} {version}" for name, version in result.tools.items())
    lines = [
        f"{result.model}, {result.depth} layers, random weights, one image per call; "
        f"{result.processor}, {result.cores} cores, {instructions}; {tools}",
        "",
        "| image | tokens | graph | else in | int8 layers | split attentions | ms | FP32 / this |",
        f"|{8 * '---|'}",
    ]
    for row in result.rows:
        height, width = row.image_size
        linear = f"{row.linear_layers.get('int8', 0)} of {sum(row.linear_layers.values())}"
        cells = (f"{height}x{width}", row.tokens, _GRAPHS[row.graph], row.rest, linear)
        measured = (row.split_attentions, f"{row.milliseconds:.1f}", f"{row.ratio:.2f}x")
        lines.append(f"| {' | '.join(map(str, (*cells, *measured)))} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; write ``vit_int8.json`` and ``vit_int8.md``."""
    parser = argparse.ArgumentParser(prog="bench/vit_int8.sh", description=__doc__)
    parser.add_argument("--model", default="sapiens-0.3b", help="a named size (%(default)s)")
    parser.add_argument("--sizes", default="256x192,512x384,1024x768", help="(%(default)s)")
    parser.add_argument("--blocks", type=int, help="only so many of its blocks: less memory")
    parser.add_argument("--quick", action="store_true", help="--blocks 1 --sizes 64x48")
    parser.add_argument("--out", type=Path, default=Path("artifacts/vit-int8"), help="a folder")
    options = parser.parse_args(arguments)
    try:
        make_folder(options.out)
        _measure(options)
    except MotivNetError as error:
        say(f"error: {error}", err=True)
        return error.exit_status
    return 0


def _measure(options: argparse.Namespace) -> None:
    """Measure one size after the other; the files hold what there is after each."""
    config = ModelConfig.named(options.model)
    if blocks := 1 if options.quick else options.blocks:
        encoder = msgspec.structs.replace(config.encoder, depth=blocks)
        config = msgspec.structs.replace(config, encoder=encoder)
    machine = read_machine()
    rows: list[Row] = []
    for size in ("64x48" if options.quick else options.sizes).split(","):
        with tempfile.TemporaryDirectory(prefix="vit-int8.") as folder:
            rows += measure_size(config.at(image_size_from_text(size)), Path(folder))
        result = Result(
            model=options.model,
            depth=config.encoder.depth,
            processor=machine.processor,
            instructions=(*machine.bf16_instructions, *machine.int8_instructions),
            cores=count_usable_cores(),
            tools=installed_versions(("openvino", "nncf", "onnx", "torch")),
            rows=tuple(rows),
        )
        write_atomic(options.out / "vit_int8.md", markdown_of(result).encode())
        write_atomic(options.out / "vit_int8.json", schema.encode(result))
    for line in markdown_of(result).splitlines():
        say(line)


if __name__ == "__main__":
    sys.exit(main())
