"""Stand-ins for NVIDIA's libraries with which the real bindings can be imported, not used."""

from __future__ import annotations

import subprocess
from pathlib import Path

SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
"""What the bindings link to. Each returns null, so that making a builder raises."""


def compile_stubs(folder: Path, libraries: tuple[str, ...]) -> None:
    """Compile shared libraries of these names, with all the symbols, beside the bindings."""
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in SYMBOLS))
    for library in libraries:
        command = [
            "gcc",
            "-shared",
            "-fPIC",
            f"-Wl,-soname,{library}",
            "-o",
            str(folder / library),
            str(source),
        ]
        subprocess.run(command, check=True, capture_output=True, text=True)
