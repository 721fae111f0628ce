"""The PyTorch model as a runtime."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace as change
from torch._dynamo.utils import counters

from motivnet.config import ModelConfig
from motivnet.errors import InputError, RuntimeUnavailableError
from motivnet.model import MotivNet, build_model
from motivnet.model.runtime import Compiler, Compute, TorchRuntime, missing_for_compiler
from motivnet.runtime import Runtime


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, 3, 128, 96), np.float32)


def test_it_gives_what_the_model_gives(
    tiny_model: MotivNet, tiny_config: ModelConfig, image: np.ndarray
) -> None:
    with TorchRuntime(tiny_model, config=tiny_config) as runtime, torch.inference_mode():
        results = runtime.run({"image": image})
        logits, embedding = tiny_model.logits_and_embedding(torch.from_numpy(image))
    assert list(results) == ["logits", "embedding"]
    np.testing.assert_array_equal(results["logits"], logits.numpy())
    np.testing.assert_array_equal(results["embedding"], embedding.numpy())


@pytest.mark.parametrize(("compute", "tolerance"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_half_precision_is_near_and_comes_back_as_float32(
    tiny_model: MotivNet,
    tiny_config: ModelConfig,
    image: np.ndarray,
    compute: Compute,
    tolerance: float,
) -> None:
    exact = TorchRuntime(tiny_model, config=tiny_config).run({"image": image})
    runtime = TorchRuntime(tiny_model, config=tiny_config, compute=compute)
    rounded = runtime.run({"image": image})
    assert runtime.compute == compute
    for name, array in rounded.items():
        assert array.dtype == np.float32
        difference = np.abs(array - exact[name]).max() / np.abs(exact[name]).max()
        assert 0 < difference < tolerance


def test_the_model_that_is_given_stays_as_it_is(
    tiny_model: MotivNet, tiny_config: ModelConfig
) -> None:
    before = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
    tiny_model.train()
    TorchRuntime(tiny_model, config=tiny_config, compute="bfloat16").close()
    assert tiny_model.training
    tiny_model.eval()
    assert all(
        torch.equal(weight, before[name]) for name, weight in tiny_model.state_dict().items()
    )
    assert all(parameter.requires_grad for parameter in tiny_model.parameters())


def test_it_is_a_runtime_and_describes_itself(
    tiny_model: MotivNet, tiny_config: ModelConfig
) -> None:
    runtime = TorchRuntime(tiny_model, config=tiny_config)
    assert isinstance(runtime, Runtime)
    assert (runtime.name, runtime.compute) == ("pytorch", "float32")
    assert [
        (spec.name, spec.dtype, spec.shape) for spec in (*runtime.inputs, *runtime.outputs)
    ] == [
        ("image", "float32", (None, 3, 128, 96)),
        ("logits", "float32", (None, 7)),
        ("embedding", "float32", (None, 96)),
    ]


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"image": np.zeros((1, 3, 96, 128), np.float32)},
        {"image": np.zeros((1, 3, 128, 96), np.float64)},
        {"image": np.zeros((0, 3, 128, 96), np.float32)},
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    tiny_model: MotivNet, tiny_config: ModelConfig, inputs: dict[str, np.ndarray]
) -> None:
    with pytest.raises(InputError):
        TorchRuntime(tiny_model, config=tiny_config).run(inputs)


@pytest.mark.parametrize("view", ["reversed", "read-only"])
def test_any_array_of_the_right_shape_is_taken(
    tiny_model: MotivNet, tiny_config: ModelConfig, image: np.ndarray, view: str
) -> None:
    given = image[::-1]
    if view == "read-only":
        given = image[::-1].copy()
        given.flags.writeable = False
    runtime = TorchRuntime(tiny_model, config=tiny_config)
    expected = runtime.run({"image": image})["logits"][::-1]
    np.testing.assert_allclose(runtime.run({"image": given})["logits"], expected, atol=1e-6)


def test_threads_hold_during_a_run_and_are_put_back(
    tiny_model: MotivNet, tiny_config: ModelConfig, image: np.ndarray
) -> None:
    seen: list[int] = []
    runtime = TorchRuntime(tiny_model, config=tiny_config, threads=2)
    assert runtime._model is not None
    runtime._model.encoder.norm.register_forward_hook(
        lambda *_: seen.append(torch.get_num_threads())
    )
    before = torch.get_num_threads()
    runtime.run({"image": image})
    assert before == 1
    assert (seen, torch.get_num_threads()) == ([2], before)


def test_closing_frees_the_model_and_may_be_repeated(
    tiny_model: MotivNet, tiny_config: ModelConfig, image: np.ndarray
) -> None:
    runtime = TorchRuntime(tiny_model, config=tiny_config, compute="bfloat16")
    model = weakref.ref(runtime._model)
    runtime.close()
    runtime.close()
    gc.collect()
    assert model() is None
    with pytest.raises(ValueError, match="closed"):
        runtime.run({"image": image})


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # PyTorch's own
def test_a_compiled_model_gives_what_the_model_gives(
    image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    counters.clear()
    tiny = ModelConfig.named("tiny")
    config = change(tiny, encoder=change(tiny.encoder, depth=1))
    model = build_model(config, seed=1)
    with (
        TorchRuntime(model, config=config) as plain,
        TorchRuntime(model, config=config, compiler="inductor") as compiled,
    ):
        expected = plain.run({"image": image})
        for _ in range(2):
            results = compiled.run({"image": image})
            np.testing.assert_allclose(results["logits"], expected["logits"], atol=1e-4)
            np.testing.assert_allclose(results["embedding"], expected["embedding"], atol=1e-4)
    assert counters["stats"]["unique_graphs"] == 1  # in the first call, as a whole
    assert list(tmp_path.rglob("*.so"))  # by a C++ compiler


@pytest.mark.parametrize(
    ("compiler", "device", "environment", "said"),
    [
        (
            "inductor",
            "cpu",
            {"CXX": "nowhere++"},
            r"a C\+\+ compiler, and nowhere\+\+ is not found",
        ),
        ("inductor", "cpu", {"PATH": ""}, r"g\+\+ is not found; install one, or set CXX"),
        ("inductor", "cuda:0", {"PATH": ""}, "a C compiler, and gcc or clang is not found"),
        ("torch_tensorrt", "cpu", {}, "needs an NVIDIA GPU; use --device cuda"),
        ("torch_tensorrt", "cuda", {}, "torch_tensorrt is not installed; install the"),
    ],
)
def test_a_compiler_that_cannot_run_here_is_named_with_what_to_do(
    compiler: Compiler,
    device: str,
    environment: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert re.search(said, str(missing_for_compiler(compiler, device)))


def test_a_compiler_that_is_missing_is_an_error(
    tiny_model: MotivNet, tiny_config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "nowhere")
    with pytest.raises(RuntimeUnavailableError, match="and nowhere is not found"):
        TorchRuntime(tiny_model, config=tiny_config, compiler="inductor")


def test_a_device_that_is_not_there_is_one_line(
    tiny_model: MotivNet, tiny_config: ModelConfig
) -> None:
    with pytest.raises(RuntimeUnavailableError, match="no device 'abacus'"):
        TorchRuntime(tiny_model, config=tiny_config, device="abacus")
