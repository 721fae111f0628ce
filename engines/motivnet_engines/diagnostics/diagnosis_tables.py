"""What ``motivnet doctor`` prints at a terminal.

It imports neither NumPy nor OpenCV, whose absence or damage is what it has to tell.
"""

from __future__ import annotations

from motivnet.terminal import TextTable, details, show, table
from motivnet_engines.diagnostics.capabilities import Capability
from motivnet_engines.diagnostics.doctor import Diagnosis
from motivnet_engines.diagnostics.instructions import instruction_lines
from motivnet_engines.system.machine import Machine, read_processor


def print_diagnosis(found: Diagnosis) -> None:
    """Print the machine, the packages, the capabilities, and the commands that fix the rest."""
    packages = table("package", "version", "here")
    for status in found.packages:
        packages.add_row(status.name, status.version or "-", status.detail)
    parts = [details(_machine_details(found)), packages]
    for title, capabilities in (
        ("can be built", found.builds),
        ("can be run", found.runtimes),
        ("can be used", found.extras),
    ):
        parts.append(_capability_table(title, capabilities))
    if found.fixes:
        fixes = table("to fix", "run")
        for name, command in found.fixes.items():
            fixes.add_row(name, command)
        parts.append(fixes)
    if found.advice:
        parts.append(
            details({f"note {number}": text for number, text in enumerate(found.advice, 1)})
        )
    show(*parts)


def _capability_table(title: str, capabilities: tuple[Capability, ...]) -> TextTable:
    rows = table(title, "", "")
    for capability in capabilities:
        rows.add_row(capability.name, "yes" if capability.possible else "no", capability.detail)
    return rows


def _machine_details(found: Diagnosis) -> dict[str, str]:
    machine, driver, jetson = found.machine, found.driver, found.jetson
    cores = f"{machine.cores} cores ({machine.physical_cores} physical)"
    if machine.core_limit is not None:
        cores += f", limited to {machine.core_limit:g}"
    rows = {
        "processor": f"{machine.processor} ({machine.architecture}), {cores}",
        **instruction_lines(machine, told=bool(read_processor().flags)),
        "memory": _memory_text(machine),
    }
    if jetson is not None:
        rows["Jetson"] = f"{jetson.model}, L4T {jetson.l4t}, JetPack {jetson.jetpack or '?'}"
    cuda = f"CUDA {driver.cuda}" if driver.cuda else None
    unused = "an NVIDIA GPU is in this machine and not in use" if driver.unused_gpu else None
    known = (driver.version, cuda, driver.missing_requirement, unused)
    rows["NVIDIA driver"] = "; ".join(filter(None, known))
    for index, gpu in enumerate(driver.gpus):
        rows[f"GPU {index}"] = f"{gpu.name}, SM {gpu.sm}, {_gib(gpu.memory)}"
    rows["Python"] = f"{found.python}, {found.executable}"
    rows["motivnet"] = found.motivnet
    return rows


def _memory_text(machine: Machine) -> str:
    named = {
        "in all": machine.memory_total,
        "free": machine.memory_available,
        "allowed": machine.memory_limit,
    }
    return ", ".join(f"{_gib(value)} {name}" for name, value in named.items() if value is not None)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
