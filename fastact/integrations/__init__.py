"""Other libraries computed with fastact: one line each, undone as easily.

Each module is imported by itself, when it is used, and needs the library that it is named after:

    import fastact.integrations.sklearn as integration

    integration.patch()
    integration.unpatch()

``list()`` says which there are; docs/integrations.md what each makes faster, and by how much.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import types
from collections.abc import Sequence
from typing import NamedTuple

from fastact.integrations.replacement import Refused

__all__ = ["PATCHES", "Integration", "Refused", "list", "load"]

#: Name of the integration and distribution of its library.
_LIBRARIES = {
    "sklearn": "scikit-learn",
    "keras": "keras",
    "onnx": "onnx",
    "thinc": "thinc",
    "dask": "distributed",
}
#: Those that replace functions of the library, with ``patch``, ``unpatch`` and ``patched``.
PATCHES = ("sklearn", "keras")


class Integration(NamedTuple):
    """One integration and what this process has of it."""

    name: str
    library: str
    #: The library's version; empty if it is not installed.
    version: str
    #: What of the library is replaced now.
    replaced: tuple[str, ...]

    def __str__(self) -> str:
        if not self.version:
            return f"{self.library} is not installed"
        text = f"{self.library} {self.version}"
        if self.name in PATCHES:
            text += (
                f", patched ({len(self.replaced)} functions)" if self.replaced else ", not patched"
            )
        return text


def list() -> Sequence[Integration]:
    """All integrations: the version that is installed, and what is replaced. Imports none of them.

    >>> [integration.name for integration in fa.integrations.list()]  # doctest: +ELLIPSIS
    ['sklearn', ...]
    """
    return [_look(name) for name in _LIBRARIES]


def load(name: str) -> types.ModuleType:
    """The module of an integration; ImportError says what is missing.

    Raises
    ------
    ValueError
        If there is no such integration.
    ImportError
        If its library is not installed.
    """
    if name not in _LIBRARIES:
        raise ValueError(f"there is no integration {name!r}, only {', '.join(_LIBRARIES)}")
    if not _version(name):
        raise ImportError(
            f"fastact.integrations.{name} needs {_LIBRARIES[name]}: pip install 'fastact[{name}]'"
        )
    return importlib.import_module(f"fastact.integrations.{name}")


def _look(name: str) -> Integration:
    module = sys.modules.get(f"fastact.integrations.{name}")
    replaced = module.replaced() if module is not None and name in PATCHES else ()
    return Integration(name, _LIBRARIES[name], _version(name), tuple(replaced))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(_LIBRARIES[name])
    except importlib.metadata.PackageNotFoundError:
        return ""
