from __future__ import annotations

import pytest

from motivnet.errors import ConfigError, RuntimeUnavailableError
from motivnet_bench.latency import baselines, candidates
from motivnet_bench.latency.baselines import BASELINES, default_baselines, row_name
from motivnet_bench.latency.candidates import choose_candidates
from motivnet_bench.latency.measure import Options
from motivnet_engines.runtimes import selection


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx2 f16c avx512f avx512_bf16", ("fp32", "bf16")),
        ("avx2 amx_tile amx_bf16", ("fp32", "bf16")),
        ("asimd asimdhp bf16", ("fp32", "bf16")),
        ("asimd asimdhp", ("fp32", "fp16")),
        ("avx2 avx512f avx512_fp16", ("fp32", "fp16")),
        ("avx2 f16c avx512f", ("fp32",)),
        ("", ("fp32",)),
    ],
)
def test_a_processor_measures_only_what_it_has_instructions_for(flags, expected):
    names, left_out = default_baselines(
        device="cpu", precision="fp16", flags=frozenset(flags.split())
    )
    assert names == expected
    missing = [line for line in left_out if "has no instructions for it" in line]
    assert len(missing) == (expected == ("fp32",))
    assert all("--baseline bf16 measures it all the same" in line for line in missing)
    assert f"--baseline compile-{expected[-1]} measures it" in left_out[-1]


@pytest.mark.parametrize(("precision", "half"), [("bf16", "bf16"), ("fp16", "fp16")])
def test_a_gpu_measures_the_artifacts_precision_also_compiled(precision, half, monkeypatch):
    monkeypatch.setenv("CC", "sh")
    names, left_out = default_baselines(device="cuda", precision=precision)
    assert (names, left_out) == (("fp32", half, f"compile-{half}"), ())


def test_without_a_compiler_compiled_pytorch_is_left_out_with_a_line(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    names, left_out = default_baselines(device="cuda", precision="fp16")
    assert names == ("fp32", "fp16")
    assert left_out == (
        "compiled PyTorch is left out: torch.compile needs a C compiler, and no-such-compiler is "
        "not found; install one, or set CC",
    )


def test_a_named_baseline_is_measured_whatever_the_processor_has(target, monkeypatch):
    monkeypatch.setattr(baselines, "read_processor", None)  # it is not asked
    rows = choose_candidates(target, device="cpu", baselines=("bf16", "compile-fp16", "bf16"))
    named = [(row.name, row.model.compute, row.model.compiler) for row in rows[:2]]
    assert named == [
        ("pytorch-bf16", "bfloat16", None),
        ("pytorch-compile-fp16", "float16", "inductor"),
    ]
    assert [row.role for row in rows[:3]] == ["baseline", "baseline", "runtime"]


def test_every_baseline_has_a_row_of_its_own_name():
    assert row_name("torch-tensorrt-fp16") == "torch-tensorrt-fp16"
    assert len({row_name(name) for name in BASELINES}) == len(BASELINES)


def test_an_unknown_baseline_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match="no baseline is called 'bf8'; choose from fp32, bf16"):
        Options(baselines=("fp32", "bf8"))


def test_without_any_runtime_nothing_is_measured(target, monkeypatch):
    for module in (candidates, selection):
        monkeypatch.setattr(module, "installed_runtimes", lambda *_, **__: ())
    with pytest.raises(RuntimeUnavailableError, match="no runtime is installed; install some"):
        choose_candidates(target, device="cpu", baselines=("fp32",))
