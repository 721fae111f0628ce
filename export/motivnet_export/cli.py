"""The ``motivnet-export`` command: build, onnx, verify, inspect, optimise."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption
from motivnet.config import image_size_from_text
from motivnet.errors import ConfigError, ParityError
from motivnet.path_kind import check_exist
from motivnet_engines.cli.options import TrustEnginesOption

app = command_line.make_app(
    "Turn a trained MotivNet into a verified artifact, and show what is in it."
)

_NOTHING_WRITTEN = "nothing was written"

PrecisionName = Literal["fp32", "fp16", "bf16", "int8", "fp8"]

CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        help="Weights: MotivNet .pth, Lightning .ckpt, Sapiens .pth, our .safetensors, or the "
        "folder or .index.json of sharded weights.",
        show_default="the newest in checkpoints/",
    ),
]
EMAOption = Annotated[
    bool, typer.Option("--ema", help="Take the checkpoint's EMA weights, not those beside them.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|CONFIG.json",
        help="A named size (tiny, vit-ti, -s, -b, sapiens-0.3b, -0.6b, -1b, -2b) or a "
        "configuration: the sizes of the checkpoint if they are not published ones, or, without a "
        "checkpoint, random weights.",
    ),
]
PrecisionOption = Annotated[
    PrecisionName | None,
    typer.Option(help="The precision of the artifact.", show_default="fp32"),
]
FP16Option = Annotated[bool, typer.Option("--fp16", help="Short for --precision fp16.")]
INT8Option = Annotated[bool, typer.Option("--int8", help="Short for --precision int8.")]
FP8Option = Annotated[bool, typer.Option("--fp8", help="Short for --precision fp8.")]
TargetOption = Annotated[
    Literal["auto", "onnx", "openvino", "tensorrt", "tensorrt-rtx", "web"],
    typer.Option(
        help="What the graph is compiled to. auto: TensorRT if it and a GPU are here, else "
        "TensorRT-RTX ahead of time if it is here, else the graph alone. openvino: the graph "
        "alone; --int8 then quantises for this processor instead of for TensorRT, and is kept if "
        "it is faster here. web: a folder for any web server, where browsers run the model."
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
    Literal["auto", "fused", "decomposed"],
    typer.Option(
        help="The Attention operator, or matrix products; auto takes fused except in FP32."
    ),
]
InputOption = Annotated[
    Literal["float32", "uint8", "image"],
    typer.Option(
        "--input",
        help="float32: normalised, (B, 3, H, W). uint8: pixels (B, H, W, 3) at the model's size. "
        "image: pixels of any height and width, resized in the graph.",
    ),
]
PreprocessOption = Annotated[
    Literal["stretch", "square-white-pad"] | None,
    typer.Option(
        help="The preprocessing of images that the artifact names.",
        show_default="the checkpoint's, else stretch",
    ),
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="HEIGHTxWIDTH",
        help="The size of the model's input, such as 512x384: a fraction of the cost, and of the "
        "accuracy until the head is trained again at that size.",
        show_default="the size that it was trained at",
    ),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Images to compare the outputs on.", show_default="drawn faces"
    ),
]
NumImagesOption = Annotated[
    int | None,
    typer.Option(help="How many images to compare on.", show_default="16; 2 for large models"),
]
ExactRoundingOption = Annotated[
    bool,
    typer.Option(
        "--exact-rounding",
        help="Compare with PyTorch's own half-precision arithmetic instead of simulating it in "
        "FP32: minutes per image for a large model on most processors.",
    ),
]
CalibrationImagesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Images to measure the ranges of INT8 and FP8 on.",
        show_default="drawn faces",
    ),
]


@app.command(short_help="Export, compare with PyTorch, compile")
def build(
    checkpoint: CheckpointOption = None,
    ema: EMAOption = False,
    out: Annotated[
        Path | None,
        typer.Option(help="The artifact's folder.", show_default="artifacts/<checkpoint's name>"),
    ] = None,
    model: ModelOption = None,
    precision: PrecisionOption = None,
    fp16: FP16Option = False,
    int8: INT8Option = False,
    fp8: FP8Option = False,
    target: TargetOption = "auto",
    sm: SMOption = None,
    attention: AttentionOption = "auto",
    input_form: InputOption = "float32",
    preprocess: PreprocessOption = None,
    image_size: ImageSizeOption = None,
    max_batch: Annotated[
        int, typer.Option(help="The largest batch that a runtime is given at once.")
    ] = 8,
    images: ImagesOption = None,
    num_images: NumImagesOption = None,
    exact_rounding: ExactRoundingOption = False,
    calibration_images: CalibrationImagesOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail instead of falling back to another precision.")
    ] = False,
    purpose: Annotated[
        str | None,
        typer.Option(
            help="What the artifact is for; stated in its manifest, by inspect and by the service.",
            metavar="TEXT",
            show_default="not stated",
        ),
    ] = None,
    web_runtime: Annotated[
        Path | None,
        typer.Option(
            help="With --target web: npm's package of ONNX Runtime Web.",
            show_default="kept in the user's cache, fetched from npm once",
        ),
    ] = None,
    json: JSONOption = False,
) -> None:
    """Export, compare with PyTorch, compile, and write the artifact with its parity report."""
    check_exist(checkpoint, images, calibration_images, web_runtime)
    if web_runtime is not None and target != "web":
        raise ConfigError("--web-runtime is for --target web")

    from motivnet_export.build import build_artifact
    from motivnet_export.request import BuildRequest, engine_for_target
    from motivnet_export.tables import describe_engine, print_built

    engine = engine_for_target(target, sm=sm)
    request = BuildRequest(
        checkpoint=checkpoint,
        ema=ema,
        model=model,
        out=out,
        precision=_precision(precision, fp16=fp16, int8=int8, fp8=fp8),
        attention=attention,
        input=input_form,
        preprocess=preprocess,
        image_size=image_size_from_text(image_size) if image_size else None,
        max_batch=max_batch,
        images=images,
        num_images=num_images,
        exact_rounding=exact_rounding,
        calibration_images=calibration_images,
        strict=strict,
        engine=engine,
        engine_optional=target == "auto",
        for_openvino=target == "openvino",
        purpose=purpose,
    )
    with command_line.interruptible(_NOTHING_WRITTEN):
        if target == "web":
            from motivnet_export.web import build_for_browsers, describe_folder

            folder = build_for_browsers(request, web_runtime, on_message=command_line.warn)
            if json:
                command_line.print_json({"folder": str(folder)})
            else:
                command_line.say(describe_folder(folder))
            return
        artifact = build_artifact(request, on_message=command_line.warn)
    if json:
        command_line.print_json({"folder": str(artifact.folder), "manifest": artifact.manifest})
    else:
        print_built(artifact, describe_engine(target, artifact))


@app.command(short_help="Export an ONNX file without comparing it")
def onnx(
    checkpoint: CheckpointOption = None,
    ema: EMAOption = False,
    out: Annotated[
        Path | None, typer.Option(help="The file.", show_default="<checkpoint's name>.onnx")
    ] = None,
    model: ModelOption = None,
    precision: PrecisionOption = None,
    fp16: FP16Option = False,
    attention: AttentionOption = "auto",
    input_form: InputOption = "float32",
    preprocess: PreprocessOption = None,
    image_size: ImageSizeOption = None,
    json: JSONOption = False,
) -> None:
    """Export an ONNX file alone: checked by ONNX's checker, not compared with PyTorch."""
    check_exist(checkpoint)

    from motivnet_export.request import BuildRequest
    from motivnet_export.single_file import export_file
    from motivnet_export.tables import print_exported

    request = BuildRequest(
        checkpoint=checkpoint,
        ema=ema,
        model=model,
        precision=_precision(precision, fp16=fp16),
        attention=attention,
        input=input_form,
        preprocess=preprocess,
        image_size=image_size_from_text(image_size) if image_size else None,
    )
    with command_line.interruptible(_NOTHING_WRITTEN):
        files, graph = export_file(request, out)
    if json:
        command_line.print_json({"files": [str(path) for path in files], "graph": graph})
    else:
        print_exported(files, graph)


@app.command(short_help="Compare an artifact with its checkpoint")
def verify(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="The checkpoint that it was made from.",
            show_default="that of its name in checkpoints/ or here",
        ),
    ] = None,
    images: ImagesOption = None,
    num_images: NumImagesOption = None,
    exact_rounding: ExactRoundingOption = False,
    trust_engines: TrustEnginesOption = False,
    json: JSONOption = False,
) -> None:
    """Compare an artifact with its checkpoint again; exit 1 if it is too far from PyTorch."""
    from motivnet.artifact import open_artifact
    from motivnet_export.parity_check import describe_failure
    from motivnet_export.tables import print_parity
    from motivnet_export.verify import verify_artifact

    with command_line.interruptible("nothing was compared"):
        report = verify_artifact(
            open_artifact(artifact),
            checkpoint=checkpoint,
            images=images,
            num_images=num_images,
            exact_rounding=exact_rounding,
            trust_engines=trust_engines,
        )
    if json:
        command_line.print_json(report)
    else:
        print_parity(report)
    if not report.passed:
        raise ParityError(f"{artifact} is not close enough to PyTorch: {describe_failure(report)}")


@app.command(short_help="Count an artifact's graph")
def inspect(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.")],
    json: JSONOption = False,
) -> None:
    """Print what is in an artifact, counted in its graph: precision, attention, sizes, parity."""
    from motivnet.artifact import open_artifact
    from motivnet_export.tables import print_inspection
    from motivnet_export.verify import check_graph

    opened = open_artifact(artifact)
    check_graph(opened)
    if json:
        command_line.print_json({"manifest": opened.manifest, "graph": opened.manifest.graph})
    else:
        print_inspection(opened)


@app.command(
    short_help="Find and build the cheapest model that is enough",
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def optimise(context: typer.Context) -> None:
    """Hand over to the benchmark's command of this name, which measures what this one builds.

    The benchmark imports the export, and not the other way round. So the process becomes that
    command, as in a shell; options, ``--help``, signals and exit status are its own.
    """
    from motivnet.child_process import isolated_module

    command = isolated_module("motivnet_bench", "optimise", *context.args)
    os.execv(sys.executable, command)  # noqa: S606 - this Python


def _precision(
    name: PrecisionName | None, *, fp16: bool, int8: bool = False, fp8: bool = False
) -> PrecisionName:
    flags: dict[PrecisionName, bool] = {"fp16": fp16, "int8": int8, "fp8": fp8}
    given = {f"--{flag}": flag for flag, is_given in flags.items() if is_given}
    if name is not None:
        given[f"--precision {name}"] = name
    if len(set(given.values())) > 1:
        raise ConfigError(f"{' and '.join(given)} contradict each other; give one")
    return next(iter(given.values()), "fp32")


def main() -> None:
    """Entry point."""
    command_line.run(app)
