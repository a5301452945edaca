"""Sphinx configuration: `make docs` builds docs/_build, warnings being errors.

The pages are MyST Markdown, but for the API reference, which is lists of names (autosummary) whose
text is the docstrings. Formulas become MathML, which browsers draw by themselves: a built site
needs nothing from the net.
"""

from html import escape
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

import fastcnn

project = "fastcnn"
author = "The fastcnn authors"
copyright = author
version = release = fastcnn.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_parser"]
exclude_patterns = ["_build", "templates"]
templates_path = ["templates"]

default_role = "py:obj"  # `name` in a docstring is a link where such a thing exists
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # types stand in the docstrings
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # np.float32, not its repr
numpydoc_show_class_members = False  # templates/autosummary/class.rst lists them
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "fastcnn"
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def draw_math(writer: Any, node: Any) -> None:
    """A formula in TeX as MathML; its source is the tooltip of a displayed one."""
    if isinstance(node, nodes.math_block):
        formula = convert(node.astext(), display="block")
        writer.body.append(f'<div class="math" title="{escape(node.astext())}">{formula}</div>')
    else:
        writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def skip_fields(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples, which their docstrings list."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field") else None


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", skip_fields)
    app.add_html_math_renderer("mathml", (draw_math, None), (draw_math, None))
