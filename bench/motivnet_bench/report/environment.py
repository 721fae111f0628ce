"""What every report ends with: environment and command line; and how numbers are written."""

from __future__ import annotations

from motivnet_bench.environment import Environment
from motivnet_bench.report.document import CommandLine, Details, List, Section


def environment_section(environment: Environment, *, pytorch_device: str, created: str) -> Section:
    """Return a machine, its software and the date of a run."""
    versions = (f"{name} {number}" for name, number in environment.versions.items())
    details: Details = (
        ("Processor", environment.processor),
        ("Cores", f"{environment.physical_cores} physical, available to the run"),
        ("Instructions", ", ".join(environment.instructions) or "none of note"),
        ("PyTorch ran on", pytorch_device),
        *((f"GPU {index}", gpu) for index, gpu in enumerate(environment.gpus)),
        *((("NVIDIA driver", environment.driver),) if environment.driver else ()),
        ("Memory", byte_count(environment.memory)),
        ("System", environment.system),
        ("Load at start", f"{environment.load_average:g}"),
        ("Governor", environment.governor or "not readable"),
        ("Python", environment.python),
        ("Versions", ", ".join(versions)),
        ("Date", created),
    )
    return Section(title="Environment", blocks=(List(details=details),), narrow=True)


def command_line_section(command_line: str) -> Section:
    """Return the command that repeats a run."""
    return Section(title="Command line", blocks=(CommandLine(text=command_line),))


def duration(seconds: float) -> str:
    """Return seconds with three significant digits, as µs, ms or s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{significant(seconds / size)} {unit}"
    return f"{significant(seconds / 1e-6)} µs"


def significant(value: float) -> str:
    """Return three significant digits without an exponent; of a value below 1, two decimals."""
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f}"


def rate(value: float) -> str:
    """Return images per second with three significant digits, three decimals below one."""
    return significant(value) if value >= 1 else f"{value:.3f}"


def byte_count(size: int) -> str:
    """Return bytes as MB or GB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
