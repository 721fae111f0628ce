"""The ``motivnet-export`` command: build, onnx, verify, inspect."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption
from motivnet.errors import ConfigError, ParityError
from motivnet_engines.cli.options import TrustEnginesOption

if TYPE_CHECKING:
    from motivnet.artifact.manifest import Precision

app = command_line.make_app(
    "Turn a trained MotivNet into a verified artifact, and prove what is in it."
)


class PrecisionName(StrEnum):
    """Choices of ``--precision``."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"


class AttentionName(StrEnum):
    """Choices of ``--attention``."""

    AUTO = "auto"
    FUSED = "fused"
    DECOMPOSED = "decomposed"


class InputName(StrEnum):
    """Choices of ``--input``."""

    FLOAT32 = "float32"
    UINT8 = "uint8"
    IMAGE = "image"


class TargetName(StrEnum):
    """Choices of ``--target``."""

    AUTO = "auto"
    ONNX = "onnx"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"


class RecipeChoice(StrEnum):
    """Choices of ``--preprocess``."""

    STRETCH = "stretch"
    SQUARE_WHITE_PAD = "square-white-pad"


CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        help="Weights: MotivNet .pth, Lightning .ckpt, Sapiens .pth, or our .safetensors.",
        show_default="the newest in checkpoints/",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|CONFIG.json",
        help="A named size (tiny, sapiens-0.3b, -0.6b, -1b, -2b) or a configuration: the checkpoint's sizes where they "
        "are not published ones, or, without a checkpoint, random weights.",
    ),
]
PrecisionOption = Annotated[
    PrecisionName | None, typer.Option(help="What the artifact computes in.", show_default="fp32")
]
FP16Option = Annotated[bool, typer.Option("--fp16", help="Short for --precision fp16.")]
INT8Option = Annotated[
    bool, typer.Option("--int8", help="Short for --precision int8; calibrated on --calibration.")
]
FP8Option = Annotated[
    bool, typer.Option("--fp8", help="Short for --precision fp8; calibrated on --calibration.")
]
TargetOption = Annotated[
    TargetName,
    typer.Option(
        help="What the graph is compiled to. auto: TensorRT where it and a GPU are, else TensorRT-RTX ahead of time "
        "where that is, else the graph alone."
    ),
]
SMOption = Annotated[
    str | None,
    typer.Option(
        "--sm",
        help="Compute capabilities for tensorrt-rtx, such as 86,89.",
        show_default="Ampere and later",
    ),
]
AttentionOption = Annotated[
    AttentionName,
    typer.Option(
        help="The Attention operator, or matrix products; auto takes fused except in FP32."
    ),
]
InputOption = Annotated[
    InputName,
    typer.Option(
        "--input",
        help="float32: normalised, (B, 3, H, W). uint8: pixels (B, H, W, 3) at the model's size. "
        "image: pixels of any height and width, resized in the graph.",
    ),
]
PreprocessOption = Annotated[
    RecipeChoice | None,
    typer.Option(
        help="The input recipe that is written down.", show_default="the checkpoint's, else stretch"
    ),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(help="A folder of images to judge the artifact on.", show_default="drawn faces"),
]
ImagesOption = Annotated[
    int | None,
    typer.Option("--parity-images", help="How many images.", show_default="16; 2 for large models"),
]


@app.command()
def build(
    checkpoint: CheckpointOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The artifact's folder.", show_default="artifacts/<checkpoint's name>"),
    ] = None,
    model: ModelOption = None,
    precision: PrecisionOption = None,
    fp16: FP16Option = False,
    int8: INT8Option = False,
    fp8: FP8Option = False,
    target: TargetOption = TargetName.AUTO,
    sm: SMOption = None,
    attention: AttentionOption = AttentionName.AUTO,
    input_form: InputOption = InputName.FLOAT32,
    preprocess: PreprocessOption = None,
    max_batch: Annotated[
        int, typer.Option(help="The largest batch that a runtime is given at once.")
    ] = 8,
    calibration: CalibrationOption = None,
    parity_images: ImagesOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail instead of falling to another precision.")
    ] = False,
    json: JSONOption = False,
) -> None:
    """Export, compare with PyTorch, compile, and write the artifact with its verdict."""
    from motivnet_export.build import build_artifact
    from motivnet_export.request import BuildRequest
    from motivnet_export.tables import print_built
    from motivnet_export.target import engine_for_target, headline_of_target

    engine = engine_for_target(target.value, sm=sm)
    request = BuildRequest(
        checkpoint=checkpoint,
        model=model,
        out=out,
        precision=_precision(precision, fp16=fp16, int8=int8, fp8=fp8),
        attention=attention.value,
        input=input_form.value,
        preprocess=preprocess.value if preprocess else None,
        max_batch=max_batch,
        calibration=calibration,
        parity_images=parity_images,
        strict=strict,
        engine=engine,
        engine_optional=target is TargetName.AUTO,
    )
    artifact = build_artifact(request, announce=command_line.warn)
    if json:
        command_line.print_json(
            {"folder": str(artifact.folder), "manifest": asdict(artifact.manifest)}
        )
    else:
        print_built(artifact, headline_of_target(target.value, artifact))


@app.command()
def onnx(
    checkpoint: CheckpointOption = None,
    out: Annotated[
        Path | None, typer.Option(help="The file.", show_default="<checkpoint's name>.onnx")
    ] = None,
    model: ModelOption = None,
    precision: PrecisionOption = None,
    fp16: FP16Option = False,
    attention: AttentionOption = AttentionName.AUTO,
    input_form: InputOption = InputName.FLOAT32,
    preprocess: PreprocessOption = None,
    json: JSONOption = False,
) -> None:
    """Export an ONNX file alone: checked by ONNX's checker, not compared with PyTorch."""
    from motivnet_export.request import BuildRequest
    from motivnet_export.single_file import export_file
    from motivnet_export.tables import print_exported

    request = BuildRequest(
        checkpoint=checkpoint,
        model=model,
        precision=_precision(precision, fp16=fp16),
        attention=attention.value,
        input=input_form.value,
        preprocess=preprocess.value if preprocess else None,
    )
    exported = export_file(request, out)
    if json:
        command_line.print_json(
            {"files": [str(path) for path in exported.files], "graph": asdict(exported.graph)}
        )
    else:
        print_exported(exported)


@app.command()
def verify(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="The checkpoint that it was made from.",
            show_default="that of its name in checkpoints/ or here",
        ),
    ] = None,
    calibration: CalibrationOption = None,
    parity_images: ImagesOption = None,
    trust_engines: TrustEnginesOption = False,
    json: JSONOption = False,
) -> None:
    """Compare an artifact with its checkpoint again; exit 1 if it is too far from PyTorch."""
    from motivnet.artifact import open_artifact
    from motivnet_export.parity_check import failure_line
    from motivnet_export.tables import print_parity
    from motivnet_export.verify import verify_artifact

    report = verify_artifact(
        open_artifact(artifact),
        checkpoint=checkpoint,
        calibration=calibration,
        parity_images=parity_images,
        trust_engines=trust_engines,
    )
    if json:
        command_line.print_json(report)
    else:
        print_parity(report)
    if not report.passed:
        raise ParityError(f"{artifact} is not close enough to PyTorch: {failure_line(report)}")


@app.command()
def inspect(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.")],
    json: JSONOption = False,
) -> None:
    """Print what is in an artifact, counted in its graph: precision, attention, sizes, recipe, parity."""
    from motivnet.artifact import open_artifact
    from motivnet_export.inspect import inspect_artifact
    from motivnet_export.tables import print_inspection

    inspection = inspect_artifact(open_artifact(artifact))
    if json:
        command_line.print_json(inspection)
    else:
        print_inspection(inspection, artifact)


def _precision(
    name: PrecisionName | None, *, fp16: bool, int8: bool = False, fp8: bool = False
) -> Precision:
    flags = {"--fp16": fp16, "--int8": int8, "--fp8": fp8}
    asked = [flag for flag, given in flags.items() if given]
    chosen = {PrecisionName(flag.removeprefix("--")) for flag in asked} | (
        {name} if name else set()
    )
    if len(chosen) > 1:
        given = " and ".join([*asked, *([f"--precision {name}"] if name else [])])
        raise ConfigError(f"{given} contradict each other; give one")
    return next(iter(chosen), PrecisionName.FP32).value


def main() -> None:
    """Entry point."""
    command_line.run(app)
