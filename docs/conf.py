"""Sphinx' configuration: ``sphinx-build -W --keep-going docs docs/_build`` writes the site.

Nothing is fetched while it is built, and nothing by those who read it: scripts, fonts and styles
are files of the site. Two builds of one commit give the same files.
"""

import os
import sys
from pathlib import Path

from docutils import nodes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
# The tutorials' matrix products are the same, and so are their pictures, on any number of cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import fastact  # noqa: E402

project = "fastact"
author = "The fastact developers"
copyright = author
version = release = fastact.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxext.function_pages",
    "sphinxext.gallery",
    "sphinxext.javascript",
    "sphinxext.links",
    "sphinxext.mathml",
    "sphinxext.reference",
]
exclude_patterns = ["_build", "tutorials/*.rst", "sphinxext", "sg_execution_times.rst"]

myst_enable_extensions = [
    "attrs_block",
    "attrs_inline",
    "colon_fence",
    "deflist",
    "dollarmath",
    "html_image",
]
myst_heading_anchors = 3
math_renderer = "mathml"
html_math_renderer = "mathml"

# For the reference of fastact.cuda, which needs a GPU or this.
os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")
# Libraries that integrations import, which the reference can do without.
autodoc_mock_imports = ["dask", "distributed", "keras", "onnx", "thinc"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say them
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# --- tutorials: executed when the site is built ---------------------------------------------------

if (HERE / "tutorials").is_dir():
    extensions += ["sphinx_gallery.gen_gallery", "sphinxext.archives"]
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "auto_tutorials",
    "within_subsection_order": "ExampleTitleSortKey",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "capture_repr": (),
    # What differs between two builds, and archives, which have times in them:
    "show_memory": False,
    "min_reported_time": 1_000_000,
    "write_computation_times": False,
    "download_all_examples": False,
    "show_signature": False,
}

# --- HTML -----------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "fastact"
html_static_path = ["_static"]
html_css_files = ["fastact.css"]
html_js_files = ["site.js"]
html_favicon = "_static/icon.svg"
html_logo = "_static/icon.svg"
html_last_updated_fmt = None
html_copy_source = False
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "fastact", "alt_text": ""},
    "github_url": "https://github.com/fastact/fastact",
    "header_links_before_dropdown": 8,
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "show_prev_next": False,
    "show_toc_level": 2,
}
# Pages that are wide and have no others below them.
html_sidebars = {name: [] for name in ("index", "gallery", "compare")}

# --- what a copy may lack -------------------------------------------------------------------------

#: Pages, and the files without which there are no links to them.
OPTIONAL = {
    "auto_tutorials/index": "tutorials",
    "how-it-works/index": "how-it-works/index.md",
    "performance": "performance.md",
}


def leave_out(app, docname, source):
    for page, file in OPTIONAL.items():
        if not (HERE / file).exists():
            text = source[0].replace(f"\n{page}\n", "\n")
            before, link, after = text.partition(f":link: {page}\n")
            if link:
                before = before.rpartition(":::{grid-item-card}")[0]
                after = after.partition("\n:::\n")[2]
            source[0] = before + after


# --- code -----------------------------------------------------------------------------------------


def strip_code(app, doctree):
    """Examples in Markdown end with an empty line, by which doctest knows where they end."""
    for node in doctree.findall(nodes.literal_block):
        if node.rawsource == node.astext():  # otherwise it has markup
            node.rawsource = text = node.rawsource.rstrip()
            node[:] = [nodes.Text(text)]


def setup(app):
    app.connect("doctree-read", strip_code)
    app.connect("source-read", leave_out)
