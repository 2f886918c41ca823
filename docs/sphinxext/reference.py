"""The reference of the modules beside the catalogue's functions, from ``__all__`` and docstrings.

Pages are written before Sphinx reads any, so a new public name is in them without being listed.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.ext.autodoc import mock

from fastact import integrations
from fastact.catalogue import CATALOGUE
from fastact.public import names
from sphinxext.pages import page, section, table, write

__all__ = ["setup"]


def modules() -> list[str]:
    """Those that have a page."""
    libraries = [f"integrations.{entry.name}" for entry in integrations.list()]
    cuda = importlib.import_module("fastact.cuda")
    on_gpu = [f"cuda.{n}" for n in cuda.__all__ if inspect.ismodule(getattr(cuda, n))]
    return [*names.MODULES, *libraries, "cuda", *on_gpu, "compiled"]


def public(module: ModuleType) -> list[str]:
    """Names of a module, without those of modules in it and those that it has from its parent."""
    parent = sys.modules[module.__name__.rpartition(".")[0]]
    return [
        name
        for name in module.__all__
        if not inspect.ismodule(found := getattr(module, name))
        and getattr(parent, name, None) is not found
    ]


def _page(module: ModuleType) -> str:
    blocks = [".. automodule:: " + module.__name__, f".. currentmodule:: {module.__name__}"]
    for name in public(module):
        found = getattr(module, name)
        if inspect.isclass(found):
            blocks.append(
                f".. autoclass:: {name}\n   :members:\n   :inherited-members: object, tuple"
            )
        elif callable(found):
            blocks.append(f".. autofunction:: {name}")
        else:
            blocks.append(f".. autodata:: {name}")
    return page(module.__name__, *blocks)


def _index(pages: dict[str, ModuleType]) -> str:
    families = dict.fromkeys(entry.family for entry in CATALOGUE.values())
    sections = [
        section(
            family[0].upper() + family[1:],
            table(
                ["functions", "what they are"],
                [
                    [", ".join(f":func:`{form.name}`" for form in entry.forms), entry.summary]
                    for entry in CATALOGUE.values()
                    if entry.family == family
                ],
            ),
        )
        for family in families
    ]
    others = [n for n in names.NAMES if n not in {*names.FORMS, *names.OTHER_NAMES, *names.MODULES}]
    documented = "\n\n".join(f".. autofunction:: {name}" for name in others)
    listed = table(
        ["module", "what is in it"],
        [
            [f":doc:`fastact.{name} <{name}>`", ", ".join(f"``{n}``" for n in public(module)[:12])]
            for name, module in pages.items()
        ],
    )
    tree = "\n".join(["   ../functions/index", *(f"   {name}" for name in pages)])
    return page(
        "Reference",
        ".. currentmodule:: fastact",
        "Every public name. The functions of the catalogue have a page each, with all their forms.",
        f".. toctree::\n   :hidden:\n\n{tree}",
        *sections,
        section("Threads and environment", documented),
        section("Modules", listed),
    )


def _write(app: Any) -> None:
    with mock(app.config.autodoc_mock_imports):
        pages = {name: importlib.import_module(f"fastact.{name}") for name in modules()}
        written = {f"{name}.rst": _page(module) for name, module in pages.items()}
    written["index.rst"] = _index(pages)
    write(Path(app.srcdir) / "reference", written)


def _literal(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Indented blocks of a module's docstring are code, as ``help`` shows them."""
    if what != "module":
        return
    for i, line in reversed(list(enumerate(lines))):
        previous = next((text for text in reversed(lines[:i]) if text), "")
        if line.startswith("    ") and i and not lines[i - 1] and not previous.startswith("    "):
            lines[i:i] = ["::", ""]


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", _write)
    app.connect("autodoc-process-docstring", _literal)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
