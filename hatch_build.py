"""Puts portable IR of all kernels into a wheel (see ``fastact/cpu/archive.py``), when asked for it.

    HATCH_BUILD_HOOK_ENABLE_CUSTOM=true python -m build --wheel

Such a wheel is for one platform, and takes minutes to build. ``FASTACT_ARCHIVE`` has arguments for
``tools/archive.py``, such as ``relu --dtype float32`` for these kernels only.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ArchiveHook(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self.temporary = tempfile.TemporaryDirectory()
        path = Path(self.temporary.name) / "kernels.ir"
        chosen = shlex.split(os.environ.get("FASTACT_ARCHIVE", ""))
        script = Path(self.root) / "tools" / "archive.py"
        subprocess.run([sys.executable, script, path, *chosen], check=True)
        build_data["force_include"][str(path)] = "fastact/kernels.ir"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self.temporary.cleanup()


def platform_tag() -> str:
    """IR has no dependence on the C library's version: that is the oldest with a tag."""
    machine = platform.machine().lower()
    if sys.platform == "win32":
        return f"win_{machine}"
    if sys.platform == "darwin":
        return f"macosx_11_0_{machine}"
    return f"manylinux_2_17_{machine}"
