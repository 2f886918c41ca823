"""The tutorials' archives without the time of the build, so that two builds give the same files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sphinx_gallery import gen_rst

__all__ = ["setup"]

#: The earliest that an archive can say.
_DATE = (1980, 1, 1, 0, 0, 0)


def _zip_files(files: Sequence[str], name: str | os.PathLike[str], relative_to: Any) -> None:
    """What stands in for the function of sphinx-gallery."""
    with zipfile.ZipFile(name, mode="w", compression=zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(os.path.relpath(file, relative_to), _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, Path(file).read_bytes())


def setup(app: Any) -> dict[str, Any]:
    gen_rst.zip_files = _zip_files
    return {"parallel_read_safe": True, "parallel_write_safe": True}
