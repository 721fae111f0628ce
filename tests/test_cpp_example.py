"""The C++ example, with a stand-in, with CUDA's headers and, where installed, TensorRT's."""

from __future__ import annotations

import importlib
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.compile

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "cpp"
STAND_IN = Path(__file__).resolve().parent / "cpp_stand_in"
CONFORMANCE = Path(__file__).resolve().parent / "engines" / "tensorrt"
CUDA_WHEELS = {"nvidia-cuda-runtime": "13.5.37", "nvidia-cuda-crt": "13.5.37"}
"""NVIDIA's own headers on the package index; none of its packages there has TensorRT's."""

STRICT = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
ENGINE = b"stand-in uint8 64 logits 3"
LABELS = b"neutral\nhappiness\nsadness\n"
RED, GREEN = b"\xff\x00\x00", b"\x00\xff\x00"
PICTURE = b"P6\n# two columns, three rows\n2 3\n255\n" + 2 * GREEN + 4 * RED
TENSORRT_PLACES = [
    Path(place) for place in ("/usr/include", "/usr/local/tensorrt/include", "/usr/local/include")
]
CUDA_PLACES = [
    Path("/usr/local/cuda/include"),
    *sorted(Path("/usr/local").glob("cuda-*/include")),
    Path("/usr/include"),
]


def folder_with(header: str, variable: str, places: list[Path]) -> Path | None:
    named = [Path(os.environ[variable])] if variable in os.environ else []
    architectures = [folder for place in places for folder in (place, *place.glob("*-linux-gnu"))]
    return next(
        (folder for folder in [*named, *architectures] if (folder / header).is_file()), None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Classify:
    """The compiled program, called in a folder that holds an engine, labels and a picture."""

    program: Path
    folder: Path

    def __call__(
        self, failing_call: str = "", **changed: bytes | None
    ) -> subprocess.CompletedProcess[str]:
        files = {"engine": ENGINE, "labels": LABELS, "picture": PICTURE} | changed
        for name, content in files.items():
            if content is not None:
                (self.folder / name).write_bytes(content)
        return self.run(*files, failing_call=failing_call)

    def run(self, *arguments: str, failing_call: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            env={**os.environ, "STAND_IN_FAILS": failing_call},
        )


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, linked with the stand-in, which shows that it handles errors and no more."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    program = tmp_path_factory.mktemp("cpp") / "classify"
    sources = [EXAMPLE / "classify.cpp", STAND_IN / "cuda.cpp", STAND_IN / "tensorrt.cpp"]
    command = [compiler, *STRICT, f"-I{STAND_IN}", *map(str, sources), "-o", str(program)]
    compiled = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert compiled.returncode == 0, compiled.stderr
    return program


@pytest.fixture
def classify(program: Path, tmp_path: Path) -> Classify:
    return Classify(program=program, folder=tmp_path)


def assert_one_line_says(result: subprocess.CompletedProcess[str], expected: str) -> None:
    assert (result.returncode, result.stdout) == (1, ""), result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("\n")
    assert expected in result.stderr


def test_the_label_of_the_largest_logit_is_printed_with_its_probability(classify: Classify) -> None:
    """The stand-in's logits are the top row's mean colour, so swapped sides would show."""
    result = classify()
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"happiness {math.exp(5) / (math.exp(5) + 2):.4f}\n"


def test_another_picture_has_another_label(classify: Classify) -> None:
    assert classify(picture=b"P6 1 2 255\n" + RED + GREEN).stdout.startswith("neutral 0.98")


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (None, "engine cannot be read, or is empty"),
        (b"", "engine cannot be read, or is empty"),
        (b"\x00garbage\xff" * 100, "TensorRT: deserializeCudaEngine: no engine of the stand-in"),
        (
            b"stand-in float32 64 logits 3",
            "does not take images of any size; build its artifact with --input image",
        ),
        (
            b"stand-in uint8 2 logits 3",
            "sizes that the engine was built for (--max-image): setInputShape: outside of",
        ),
        (b"stand-in uint8 64 scores 3", "the engine has no output called logits"),
    ],
)
def test_an_engine_that_cannot_run_is_named_in_one_line(
    engine: bytes | None, expected: str, classify: Classify
) -> None:
    assert_one_line_says(classify(engine=engine), expected)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (None, "picture is not a binary PPM image (P6); convert it: magick face.jpg face.ppm"),
        (b"\xff\xd8\xff\xe0 JPEG", "picture is not a binary PPM image (P6)"),
        (b"P5 1 1 255\n\x00", "picture is not a binary PPM image (P6)"),
        (b"P6 two three 255\n", "picture is not a binary PPM image"),
        (b"P6 1 1 65535\n" + 2 * RED, "must have 8 bits a channel and sides of 1 to 16384"),
        (b"P6 0 1 255\n", "must have 8 bits a channel and sides of 1 to 16384"),
        (b"P6 16385 1 255\n", "must have 8 bits a channel and sides of 1 to 16384"),
        (b"P6 99999999999 1 255\n", "picture is not a binary PPM image"),
        (PICTURE[:-1], "picture ends before its last pixel"),
    ],
)
def test_a_picture_that_is_no_ppm_is_named_in_one_line(
    picture: bytes | None, expected: str, classify: Classify
) -> None:
    assert_one_line_says(classify(picture=picture), expected)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, "labels cannot be read, or holds no label"),
        (b"\n\n", "labels cannot be read, or holds no label"),
        (b"neutral\nhappiness\n", "the engine has 3 classes and labels other labels"),
        (LABELS + b"surprise\n", "the engine has 3 classes and labels other labels"),
    ],
)
def test_labels_that_are_not_the_engines_are_refused(
    labels: bytes | None, expected: str, classify: Classify
) -> None:
    assert_one_line_says(classify(labels=labels), expected)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("createInferRuntime", "TensorRT cannot start"),
        ("createExecutionContext", "the engine has no execution context"),
        ("cudaStreamCreateWithFlags", "cannot create a CUDA stream: "),
        ("cudaMalloc", "cannot allocate GPU memory: out of memory"),
        ("setTensorAddress", "no address for image"),
        ("upload", "cannot copy the image to the GPU: "),
        ("enqueueV3", "the engine did not start"),
        ("download", "cannot copy the logits from the GPU: "),
        ("cudaStreamSynchronize", "the engine did not finish: "),
    ],
)
def test_a_call_that_fails_is_named_and_all_is_freed(
    call: str, expected: str, classify: Classify
) -> None:
    """The stand-in exits with another status if something is not freed, or freed too early."""
    assert_one_line_says(classify(failing_call=call), expected)


@pytest.mark.parametrize(
    "arguments", [[], ["engine", "labels"], ["engine", "labels", "picture", "more"]]
)
def test_wrong_arguments_are_answered_by_the_usage(
    arguments: list[str], classify: Classify
) -> None:
    assert_one_line_says(
        classify.run(*arguments), "usage: classify model.engine labels.txt face.ppm"
    )


@pytest.fixture(scope="module")
def cuda_headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of CUDA's headers: the system's, else out of NVIDIA's wheels."""
    here = folder_with("cuda_runtime_api.h", "CUDA_INCLUDE", CUDA_PLACES)
    if here is not None:
        return here
    folder = tmp_path_factory.mktemp("cuda")
    for path in downloaded_wheels():
        with zipfile.ZipFile(path) as wheel:
            headers = [name for name in wheel.namelist() if "/include/" in name]
            wheel.extractall(folder, headers)
    [header] = folder.rglob("cuda_runtime_api.h")
    return header.parent


def downloaded_wheels() -> list[Path]:
    sys.path.insert(0, str(CONFORMANCE))
    try:
        wheels = importlib.import_module("conformance.wheels")
    finally:
        sys.path.remove(str(CONFORMANCE))
    try:
        return [
            wheels.downloaded(wheels.Wheel(package=package, version=version, module=""))
            for package, version in CUDA_WHEELS.items()
        ]
    except wheels.OutOfReachError as error:
        if os.environ.get("CI"):
            pytest.fail(f"in CI CUDA's headers must be looked at: {error}")
        pytest.skip(str(error))


def compile_with(tensorrt: Path, cuda: Path, folder: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    flags = [*STRICT, "-isystem", str(tensorrt), "-isystem", str(cuda), "-c"]
    command = [compiler, *flags, str(EXAMPLE / "classify.cpp"), "-o", str(folder / "classify.o")]
    compiled = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert compiled.returncode == 0, compiled.stderr


def test_the_program_compiles_against_cudas_own_headers(cuda_headers: Path, tmp_path: Path) -> None:
    """TensorRT's header is the stand-in's: this holds the calls of CUDA alone."""
    shutil.copy(STAND_IN / "NvInferRuntime.h", tmp_path)
    compile_with(tmp_path, cuda_headers, tmp_path)


def test_the_program_compiles_against_tensorrts_own_headers(
    cuda_headers: Path, tmp_path: Path
) -> None:
    tensorrt = folder_with("NvInferRuntime.h", "TENSORRT_INCLUDE", TENSORRT_PLACES)
    if tensorrt is None:
        pytest.skip(
            "needs NvInferRuntime.h, which no package index has: install libnvinfer-headers-dev of "
            "NVIDIA's repository, or set TENSORRT_INCLUDE"
        )
    compile_with(tensorrt, cuda_headers, tmp_path)


@pytest.mark.parametrize(("option", "library"), [("OFF", "nvinfer"), ("ON", "tensorrt_rtx")])
def test_cmake_says_what_to_install_where_tensorrt_is_not(
    option: str, library: str, tmp_path: Path
) -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("needs cmake")
    if folder_with("NvInferRuntime.h", "TENSORRT_INCLUDE", TENSORRT_PLACES) is not None:
        pytest.skip("TensorRT's headers are installed here")
    environment = {name: value for name, value in os.environ.items() if name != "TENSORRT_ROOT"}
    configured = subprocess.run(
        [cmake, "-S", str(EXAMPLE), "-B", str(tmp_path), f"-DUSE_TENSORRT_RTX={option}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert configured.returncode != 0
    said = " ".join(configured.stderr.split())
    assert (
        f"NvInferRuntime.h or lib{library} was not found; install libnvinfer-dev, "
        "or set TENSORRT_ROOT" in said
    )


def test_every_tensorrt_call_of_the_program_is_one_that_all_versions_have() -> None:
    """By name; enqueueV3 came with TensorRT 8.5, and 10.3 is the oldest supported version."""
    known = {
        "createExecutionContext",
        "createInferRuntime",
        "deserializeCudaEngine",
        "enqueueV3",
        "getIOTensorName",
        "getNbIOTensors",
        "getTensorDataType",
        "getTensorIOMode",
        "getTensorShape",
        "setInputShape",
        "setTensorAddress",
    }
    source = (EXAMPLE / "classify.cpp").read_text()
    called = set(re.findall(r"(?:->|engine\.|nvinfer1::)(\w+)\(", source))
    assert called == known


def test_the_program_is_short_enough_to_read() -> None:
    assert len((EXAMPLE / "classify.cpp").read_text().splitlines()) <= 200
