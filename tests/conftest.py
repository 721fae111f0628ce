"""Fixtures that several parts share: a tiny model, its checkpoint and artifacts, shared files."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from motivnet.checkpoints import save_model
from motivnet.config import ModelConfig
from motivnet.labels import labels_for
from motivnet.model import MotivNet, build_model
from motivnet.parity import Precision
from motivnet.preprocess import Preprocessing
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest

torch.set_num_threads(1)

# A shell's background job ignores Ctrl-C, and its children would too: the tests of interruptions
# send the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)


TESTS = Path(__file__).parent
PROCESSES = (
    *("bench/latency/test_candidate_process.py", "bench/test_cli.py", "silence"),
    "bench/test_gpu_script.py",
    *("engines/cli/test_predict_endings.py", "engines/serving/reliability"),
    *("engines/serving/test_reliability.py", "engines/serving/test_serve_command.py"),
    *("engines/serving/http/test_server.py", "engines/tensorrt/test_builder_process.py"),
    *("engines/test_hostile_graphs.py", "engines/test_other_systems.py"),
    *("engines/test_torch_free.py", "export/quantise"),
    *("motivnet/test_checkpoint_bombs.py", "motivnet/test_checkpoint_damage.py"),
    *("motivnet/test_child_process.py", "motivnet/test_command_line.py"),
    *("motivnet/test_killed_writers.py", "motivnet/test_telemetry.py"),
    *("training/test_fit_disk.py", "training/test_ranks.py", "training/test_resume.py"),
    *("training/test_signals.py", "training/test_stop.py", "training/test_token_writers.py"),
)
"""Files and folders of tests that start processes, and end some of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(TESTS).as_posix().startswith(PROCESSES):
            item.add_marker(pytest.mark.process)


@pytest.fixture(scope="session", autouse=True)
def _state_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Engines that tests build are not recorded as those of whoever runs the tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the shared material beside the checkout")
    return folder


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return ModelConfig.named("tiny")


@pytest.fixture(scope="session")
def tiny_model(tiny_config: ModelConfig) -> MotivNet:
    return build_model(tiny_config, seed=1)


@pytest.fixture(scope="session")
def tiny_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: MotivNet, tiny_config: ModelConfig
) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors"
    recipe = Preprocessing.named("stretch", size=tiny_config.encoder.image_size)
    save_model(tiny_model, path, config=tiny_config, labels=labels_for(7), preprocessing=recipe)
    return path


@pytest.fixture(scope="session")
def fp32_artifact(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    return _built(tmp_path_factory, tiny_checkpoint, "fp32")


@pytest.fixture(scope="session")
def fp16_artifact(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    return _built(tmp_path_factory, tiny_checkpoint, "fp16")


def _built(factory: pytest.TempPathFactory, checkpoint: Path, precision: Precision) -> Path:
    out = factory.mktemp("artifacts") / precision
    build_artifact(BuildRequest(checkpoint=checkpoint, out=out, precision=precision, num_images=4))
    return out


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that takes no permission away."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike ``tmp_path``."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def permissions() -> Callable[[], AbstractContextManager[None]]:
    """A function whose block runs as a user whom permissions stop, which is not the superuser."""

    @contextlib.contextmanager
    def stepped_down() -> Iterator[None]:
        user = os.geteuid()
        if user == 0:
            os.seteuid(65_534)
        try:
            yield
        finally:
            os.seteuid(user)

    return stepped_down


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def file_growth() -> Callable[[int], AbstractContextManager[None]]:
    """A context in which files cannot grow beyond so many bytes; Python ignores the signal."""

    @contextlib.contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def file_size_limit(file_growth: Callable[[int], AbstractContextManager[None]]) -> Iterator[int]:
    """The size in bytes beyond which files cannot grow."""
    with file_growth(100_000):
        yield 100_000
