"""What the processor's instructions for BF16 and INT8 mean for the speed of a model.

A large ViT spends its time in matrix products. On a CPU they are faster than in FP32 only if the
processor multiplies the smaller numbers itself.
"""

from __future__ import annotations

from motivnet_engines.system.machine import Machine

_NOT_TOLD = "not told by this system"


def instruction_lines(machine: Machine, *, told: bool) -> dict[str, str]:
    """Return a line each on BF16, on INT8 and, on x86-64, on AMX.

    Args:
        told: Whether the system lists the processor's instructions; macOS does not.
    """
    if not told:
        return dict.fromkeys(("BF16", "INT8"), _NOT_TOLD)
    is_x86 = machine.architecture in ("x86_64", "AMD64")
    lines = {"BF16": _bf16_text(machine), "INT8": _int8_text(machine, is_x86=is_x86)}
    return lines | ({"AMX": _amx_text(machine)} if is_x86 else {})


def _bf16_text(machine: Machine) -> str:
    if found := machine.bf16_instructions:
        return f"{', '.join(found)}: the runtime openvino-bf16 computes in BF16, faster than FP32"
    return "no instructions for it: half precision is no faster than FP32 on this processor"


def _int8_text(machine: Machine, *, is_x86: bool) -> str:
    if found := machine.int8_instructions:
        return f"{', '.join(found)}: INT8 may be faster; --int8 --target openvino measures it"
    missing = "no VNNI" if is_x86 else "neither i8mm nor dot products"
    return f"{missing}: INT8 is no faster than FP32 here (0.96 to 1.03x); a smaller image size is"


def _amx_text(machine: Machine) -> str:
    found = [
        name
        for name in (*machine.bf16_instructions, *machine.int8_instructions)
        if name.startswith("amx_")
    ]
    if found:
        return f"{', '.join(found)}: units for matrix products, several times as fast as AVX-512"
    return "none: BF16 and INT8 run on vector units, at most at 2x and 4x the rate of FP32"
