"""Links of pages to files of the repository: to GitHub, where the file is no page of the site.

The pages are read on GitHub, too, so they name files by their path there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform

__all__ = ["setup"]

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/fastact/fastact/blob/main/"


class RepositoryLinks(SphinxPostTransform):
    """Before MyST, which would warn of them, resolves its links."""

    default_priority = 4

    def run(self, **kwargs: Any) -> None:
        for node in list(self.document.findall(pending_xref)):
            if node.get("refdomain") != "doc":
                continue
            path = self._file(node)
            if path is None:
                continue
            link = nodes.reference("", "", refuri=REPOSITORY + path, internal=False)
            link += node.children
            node.replace_self(link)

    def _file(self, node: pending_xref) -> str | None:
        target = node["reftarget"]
        page = Path(self.env.doc2path(node.get("refdoc", self.env.docname)))
        name = urlsplit(target).path
        for file in (page.parent / name, ROOT / name):  # pages that are included are at the root
            file = Path(os.path.normpath(file))
            known = file.is_relative_to(ROOT) and file.exists()
            if known and self.env.path2doc(str(file)) not in self.env.found_docs:
                return file.relative_to(ROOT).as_posix()
        return None


def setup(app: Any) -> dict[str, Any]:
    app.add_post_transform(RepositoryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
