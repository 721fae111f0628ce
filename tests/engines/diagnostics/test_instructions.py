"""What ``motivnet doctor`` says about the processor's instructions."""

from __future__ import annotations

import dataclasses

import pytest

from motivnet_engines.diagnostics.instructions import instruction_lines
from motivnet_engines.system.machine import (
    BF16_INSTRUCTIONS,
    INT8_INSTRUCTIONS,
    Machine,
    multiplies_int8,
    processor_from_cpuinfo,
    read_machine,
)

SAPPHIRE_RAPIDS = "flags\t\t: avx512f avx512_vnni avx_vnni avx512_bf16 amx_bf16 amx_tile amx_int8"
ZEN_5 = "flags\t\t: avx2 avx512f avx512_vnni avx_vnni avx512_bf16"
SKYLAKE = "flags\t\t: avx2 avx512f avx512bw"
GRAVITON_3 = "Features\t: fp asimd asimddp i8mm bf16"
CORTEX_A72 = "Features\t: fp asimd evtstrm crc32"


def machine_with(cpuinfo: str) -> Machine:
    flags = processor_from_cpuinfo(cpuinfo).flags
    return dataclasses.replace(
        read_machine(),
        architecture="aarch64" if cpuinfo.startswith("Features") else "x86_64",
        bf16_instructions=tuple(name for name in BF16_INSTRUCTIONS if name in flags),
        int8_instructions=tuple(name for name in INT8_INSTRUCTIONS if name in flags),
    )


@pytest.mark.parametrize(
    ("cpuinfo", "starts"),
    [
        (
            SAPPHIRE_RAPIDS,
            {
                "BF16": "amx_bf16, avx512_bf16: the runtime openvino-bf16",
                "INT8": "amx_int8, avx512_vnni, avx_vnni: INT8 may be faster",
                "AMX": "amx_bf16, amx_int8: units for matrix products",
            },
        ),
        (
            ZEN_5,
            {
                "BF16": "avx512_bf16: the runtime",
                "INT8": "avx512_vnni, avx_vnni: INT8 may be faster",
                "AMX": "none: ",
            },
        ),
        (SKYLAKE, {"BF16": "no instructions", "INT8": "no VNNI: INT8 is no faster", "AMX": "none"}),
        (GRAVITON_3, {"BF16": "bf16: the runtime", "INT8": "i8mm, asimddp: INT8 may be"}),
        (CORTEX_A72, {"BF16": "no instructions", "INT8": "neither i8mm nor dot products: INT8 is"}),
    ],
)
def test_a_line_each_says_what_the_instructions_mean(cpuinfo: str, starts: dict[str, str]) -> None:
    lines = instruction_lines(machine_with(cpuinfo), told=True)
    assert list(lines) == list(starts)
    for name, start in starts.items():
        assert lines[name].startswith(start)


def test_what_the_system_does_not_list_is_said() -> None:
    lines = instruction_lines(machine_with(ZEN_5), told=False)
    assert set(lines.values()) == {"not told by this system"}


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (SAPPHIRE_RAPIDS, True),
        (ZEN_5, True),
        (SKYLAKE, False),
        (GRAVITON_3, True),
        (CORTEX_A72, False),
        ("", True),  # macOS lists nothing
    ],
)
def test_int8_is_tried_where_the_processor_multiplies_it(
    cpuinfo: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "motivnet_engines.system.machine.read_processor", lambda: processor_from_cpuinfo(cpuinfo)
    )
    assert multiplies_int8() == expected
