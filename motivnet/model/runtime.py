"""The PyTorch model as one more runtime: the reference of parity and the baseline of benchmarks."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from motivnet.config import ModelConfig
from motivnet.errors import RuntimeUnavailableError
from motivnet.model.motivnet import MotivNet, build_model
from motivnet.runtime import Arrays, TensorSpec, check_inputs

Compute = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[Compute, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


Compiler = Literal["inductor", "torch_tensorrt"]
COMPILER_OPTIONS: dict[Compiler, dict[str, Any] | None] = {
    "inductor": None,
    # The types are those of the weights, and a failed build must not run in plain PyTorch instead.
    "torch_tensorrt": {"use_explicit_typing": True, "pass_through_build_failures": True},
}
"""Backends of ``torch.compile`` with their options."""


class TorchRuntime:
    """A MotivNet run by PyTorch, the whole network in one dtype.

    ``inputs`` is ``image`` float32 ``(batch, 3, height, width)``, normalised; ``outputs`` are
    ``logits`` ``(batch, classes)`` and ``embedding`` ``(batch, D)``, both float32.

    The given model is not changed. If it has this dtype and device already its weights are shared:
    it must not be trained while the runtime is in use.

    Args:
        compute: The dtype that every weight is cast to.
        compiler: What ``torch.compile`` compiles the network with, for the shape of each batch, in
            the first call; None to run it as it is.
        threads: Threads of PyTorch while ``run`` runs. The number is a setting of the whole
            process, so it is restored afterwards; None does not change it.

    Raises:
        RuntimeUnavailableError: If PyTorch has no such device here, or cannot compile here.
    """

    name = "pytorch"

    def __init__(
        self,
        model: MotivNet,
        *,
        config: ModelConfig,
        compute: Compute = "float32",
        compiler: Compiler | None = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.compute = compute
        self._device = _available(device)
        if compiler is not None and (reason := missing_for_compiler(compiler, device)) is not None:
            raise RuntimeUnavailableError(reason)
        self._threads = threads
        self._model: MotivNet | None = _cast_copy(model, config, self._device, DTYPES[compute])
        self._forward: Callable[[torch.Tensor], Any] | None = self._model.logits_and_embedding
        if compiler is not None:
            self._forward = _compile(self._forward, compiler)
        self.inputs = (
            TensorSpec(name="image", dtype="float32", shape=(None, 3, *config.encoder.image_size)),
        )
        self.outputs = (
            TensorSpec(name="logits", dtype="float32", shape=(None, config.decoder.num_classes)),
            TensorSpec(name="embedding", dtype="float32", shape=(None, config.encoder.embed_dim)),
        )

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return logits and embedding of a batch.

        Raises:
            InputError: If the arrays do not fit ``inputs``.
        """
        if self._forward is None:
            raise ValueError("run() was called on a closed runtime")
        check_inputs(inputs, self.inputs)
        image = torch.from_numpy(np.require(inputs["image"], requirements=("C", "W"))).to(
            self._device
        )
        with torch.inference_mode(), _thread_count(self._threads):
            results = self._forward(image)
        names = (spec.name for spec in self.outputs)
        return {
            name: result.float().cpu().numpy() for name, result in zip(names, results, strict=True)
        }

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        self._model = self._forward = None

    def __enter__(self) -> TorchRuntime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cast_copy(
    model: MotivNet, config: ModelConfig, device: torch.device, dtype: torch.dtype
) -> MotivNet:
    """Return a second model with the weights cast; ``Module.to`` would change the caller's."""
    copy = build_model(config, seed=None)
    weights = {
        name: weight.detach().to(device, dtype) for name, weight in model.state_dict().items()
    }
    copy.load_state_dict(weights, assign=True)
    return copy.requires_grad_(False)


def missing_for_compiler(compiler: Compiler, device: str) -> str | None:
    """Return what a compiler of the network lacks here, and what to do; None if nothing."""
    on_gpu = device.startswith("cuda")
    if compiler == "torch_tensorrt":
        if not on_gpu:
            return "Torch-TensorRT needs an NVIDIA GPU; use --device cuda"
        if importlib.util.find_spec("torch_tensorrt") is None:
            return "torch_tensorrt is not installed; install the torch-tensorrt of this PyTorch"
        return None
    # Triton compiles its launcher in C, and takes any of these.
    variable, names = ("CC", ("gcc", "clang")) if on_gpu else ("CXX", ("g++",))
    chosen = os.environ.get(variable)
    if any(shutil.which(name) for name in ((chosen,) if chosen else names)):
        return None
    language = "C" if on_gpu else "C++"
    return (
        f"torch.compile needs a {language} compiler, and {chosen or ' or '.join(names)} is not "
        f"found; install one, or set {variable}"
    )


def _compile(forward: Callable[..., Any], compiler: Compiler) -> Callable[..., Any]:
    if compiler == "torch_tensorrt":
        importlib.import_module(compiler)  # registers itself
    compiled: Callable[..., Any] = torch.compile(
        forward, backend=compiler, dynamic=False, options=COMPILER_OPTIONS[compiler]
    )
    return compiled


def _available(device: str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise RuntimeUnavailableError(
            f"PyTorch has no device {device!r} here; use 'cpu'"
        ) from error


@contextlib.contextmanager
def _thread_count(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
