"""The wheel with the torch-free extras in a new environment: every command on a real photo.

The environment is of Python 3.10 where there is one, because JetPack 6 has no other.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import skimage
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
EXTRAS = "cpu,serve,video,adapt"
NEVER = {"torch", "lightning_fabric", "onnx", "torchvision", "onnx_ir", "onnxscript", "safetensors"}

COMMANDS = {"predict", "calibrate", "adapt", "serve", "inspect", "verify", "doctor"}

# Every process of that environment leaves its command and the names of what it imported.
RECORD = """
import atexit, json, os, sys

def leave():
    command = sys.argv[1] if os.path.basename(sys.argv[0]) == "motivnet" else None
    imported = sorted({name.partition(".")[0] for name in list(sys.modules)})
    with open(os.environ["MODULES"], "a") as file:
        record = {"command": command, "port": "--port" in sys.argv, "imported": imported}
        file.write(json.dumps(record) + "\\n")

if "MODULES" in os.environ:
    atexit.register(leave)
"""

pytestmark = [pytest.mark.timeout(600), pytest.mark.install]


class Device:
    """The environment's folder, where its commands run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "venv" / "bin"
        self.modules = root / "modules.txt"

    def command(self, *words: str | Path) -> list[str]:
        return [str(self.bin / words[0]), *map(str, words[1:])]

    @property
    def python(self) -> tuple[int, int]:
        """The version of its Python."""
        [packages] = (self.root / "venv" / "lib").glob("python*")
        major, minor = packages.name.removeprefix("python").split(".")
        return int(major), int(minor)

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        return kept | {"MODULES": str(self.modules), "HOME": str(self.root)}

    def run(self, *words: str | Path, path: Path | None = None) -> str:
        search = {} if path is None else {"PYTHONPATH": str(path)}
        done = subprocess.run(
            self.command(*words),
            cwd=self.root,
            env=self.environment | search,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def oldest_python() -> str:
    """Return Python 3.10, JetPack 6's, if this machine has one, else the Python of the tests."""
    places = Path.home().glob(".pyenv/versions/3.10.*/bin/python")
    for candidate in (shutil.which("python3.10"), *map(str, places)):
        if candidate and not subprocess.run([candidate, "--version"], check=False).returncode:
            return candidate
    return sys.executable


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, fp16_artifact: Path) -> Device:
    made = Device(tmp_path_factory.mktemp("device"))
    subprocess.run([oldest_python(), "-m", "venv", made.root / "venv"], check=True)
    install = made.command("python", "-m", "pip", "install", "--quiet", "--no-warn-script-location")
    done = subprocess.run(
        [*install, f"{ROOT}[{EXTRAS}]"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [packages] = (made.root / "venv" / "lib").glob("python*/site-packages")
    (packages / "sitecustomize.py").write_text(RECORD)
    shutil.copytree(fp16_artifact, made.root / "artifacts" / "demo")
    return made


def has_shared_material() -> bool:
    return SHARED.is_dir()


@pytest.fixture(scope="module")
def photo(device: Device) -> Path:
    """A photo of the London set, or NASA's portrait in scikit-image (public domain)."""
    path = device.root / "photo.jpg"
    astronaut = Path(skimage.__file__).parent / "data" / "astronaut.png"
    with Image.open(
        SHARED / "data" / "london" / "001_neutral.jpg" if has_shared_material() else astronaut
    ) as image:
        image.convert("RGB").save(path, quality=95)
    return path


@pytest.fixture(scope="module")
def clip(device: Device, photo: Path) -> Path:
    path = device.root / "clip.mp4"
    pixels = np.asarray(Image.open(photo))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = pixels.shape[1], pixels.shape[0]
        for shift in range(12):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(np.roll(pixels, 4 * shift, axis=1)), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def labelled(device: Device) -> Path:
    """A few drawn faces of each class."""
    from motivnet.labels import labels_for
    from motivnet.synthetic import draw_face

    for label in labels_for(7):
        folder = device.root / "labelled" / label
        folder.mkdir(parents=True)
        for seed in range(20):
            Image.fromarray(draw_face(label, seed=seed, size=(128, 96))).save(
                folder / f"{seed}.png"
            )
    return device.root / "labelled"


def test_nothing_of_the_training_side_is_installed(device: Device) -> None:
    listed = json.loads(device.run("python", "-m", "pip", "list", "--format", "json"))
    assert not NEVER & {entry["name"].lower().replace("-", "_") for entry in listed}


def test_predict_reads_a_photo(device: Device, photo: Path) -> None:
    [line] = device.run("motivnet", "predict", photo, "--format", "jsonl").splitlines()
    [face] = json.loads(line)["faces"]
    assert face["label"] in face["probabilities"]
    assert face["box"] is not None


def test_predict_draws_a_copy_a_montage_and_a_table(device: Device, photo: Path) -> None:
    options = ["--annotate", device.root / "drawn", "--montage", device.root / "montage.png"]
    assert "photo.jpg" in device.run("motivnet", "predict", photo, *options)
    assert list((device.root / "drawn").iterdir())
    assert (device.root / "montage.png").is_file()


def test_predict_watches_a_video(device: Device, clip: Path) -> None:
    options = [
        "--timeline",
        device.root / "timeline.png",
        "--annotate",
        device.root / "watched.mp4",
    ]
    lines = device.run("motivnet", "predict", clip, *options, "--format", "jsonl").splitlines()
    assert len([line for line in lines if '"faces"' in line]) == 12
    assert (device.root / "timeline.png").is_file()
    assert (device.root / "watched.mp4").is_file()


def test_calibrate_adapt_and_what_they_are_for(device: Device, labelled: Path, photo: Path) -> None:
    assert "temperature" in device.run("motivnet", "calibrate", "artifacts/demo", labelled)
    device.run("motivnet", "adapt", "artifacts/demo", labelled, "--out", "classes.npz")
    for options in (["--unknown"], ["--adapted-classes", "classes.npz"]):
        assert device.run("motivnet", "predict", photo, "--no-detect", *options)


def test_inspect_verify_and_doctor(device: Device) -> None:
    assert "cold start" in device.run("motivnet", "inspect", "artifacts/demo", "--footprint")
    device.run("motivnet", "verify", "artifacts/demo")
    assert json.loads(device.run("motivnet", "doctor", "--json"))


@pytest.fixture(scope="module")
def jetpack_bindings(device: Device) -> Path:
    """A folder with JetPack 6's ``tensorrt``: NVIDIA's bindings of 10.3 over empty libraries."""
    if device.python != (3, 10):
        pytest.skip("needs Python 3.10, the only one that JetPack 6 has bindings for")
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, for the stand-ins that the bindings load")
    folder = device.root / "jetpack"
    package = "tensorrt-cu12-bindings==10.3.0"
    done = subprocess.run(
        device.command("python", "-m", "pip", "install", "--no-deps", "--target", folder, package),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"{package} cannot be downloaded")
    assert done.returncode == 0, done.stderr
    (folder / "tensorrt_bindings").rename(folder / "tensorrt")
    named = folder / "tensorrt-10.3.0.dist-info"
    named.mkdir()
    (named / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorrt\nVersion: 10.3.0\n")
    conformance = ROOT / "tests" / "engines" / "tensorrt"
    code = (
        "from conformance.stubs import compile_stubs; from conformance.wheels import NVINFER; "
        "from pathlib import Path; import sys; "
        "compile_stubs(Path(sys.argv[1]), tuple(f'{name}.10' for name in NVINFER))"
    )
    device.run("python", "-c", code, folder / "tensorrt", path=conformance)
    return folder


def test_the_bindings_of_jetpack_6_are_found_on_its_python(
    device: Device, jetpack_bindings: Path
) -> None:
    found = json.loads(device.run("motivnet", "doctor", "--json", path=jetpack_bindings))

    [tensorrt] = [package for package in found["packages"] if package["name"] == "tensorrt"]
    assert (tensorrt["version"], tensorrt["usable"]) == ("10.3.0", True)
    assert any("--attention decomposed" in line for line in found["advice"])
    assert any("FP16 results are wrong" in line for line in found["advice"])


def test_other_runtimes_are_not_disturbed_by_them(device: Device, jetpack_bindings: Path) -> None:
    said = device.run("motivnet", "verify", "artifacts/demo", path=jetpack_bindings)
    assert "passed" in said


def test_triton_export(device: Device) -> None:
    device.run("motivnet", "serve", "--artifact", "artifacts/demo", "--export-triton", "models")
    assert list((device.root / "models").rglob("config.pbtxt"))


@pytest.fixture
def service(device: Device) -> Iterator[str]:
    words = device.command("motivnet", "serve", "--artifact", "artifacts/demo", "--port", "0")
    process = subprocess.Popen(
        words, cwd=device.root, env=device.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    with process.stdout:
        first = process.stdout.readline()
        assert "http://" in first, first
        yield first[first.index("http://") :].split(";")[0].split()[0].rstrip("/")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_serve_answers_and_ends_on_sigterm(service: str, photo: Path) -> None:
    request = urllib.request.Request(
        f"{service}/v1/predict", data=photo.read_bytes(), headers={"Content-Type": "image/jpeg"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        [image] = json.load(response)["images"]
    assert len(image["faces"]) == 1
    with urllib.request.urlopen(service, timeout=60) as response:
        assert b"<!doctype html>" in response.read(200).lower()


def test_the_library_opens_from_the_packages_own_name(device: Device, photo: Path) -> None:
    code = (
        "from motivnet_engines import EmotionClassifier\n"
        "with EmotionClassifier.open('artifacts/demo') as classifier:\n"
        f"    [prediction] = classifier.predict({str(photo)!r})\n"
        "    print(prediction.embedding.shape, prediction.label)\n"
    )
    assert "(" in device.run("python", "-c", code)


def test_no_process_imported_torch(device: Device) -> None:
    """The last of this file: what the commands above left, of each command one process at least.

    ``serve`` counts as the service that listened, not as the export for Triton. ``predict-dataset``
    is not among them: its extra, Ray, is larger than all the others together.
    """
    records = [json.loads(line) for line in device.modules.read_text().splitlines()]
    left = {
        record["command"] for record in records if record["command"] != "serve" or record["port"]
    }
    assert left >= COMMANDS, COMMANDS - left
    imported = {name for record in records for name in record["imported"]}
    assert "motivnet_engines" in imported
    assert not NEVER & imported
