# SPDX-License-Identifier: GPL-2.0-only
"""How `make docs` builds this folder. In a kernel tree, the kernel's own conf.py builds it."""

import re

from docutils import nodes
from docutils.parsers.rst.directives.images import Figure
from sphinx import addnodes

project = "vfio-pci-rust"
copyright = "2026, vfio-pci-rust developers"  # pylint: disable=redefined-builtin
highlight_language = "none"
html_theme_options = {"page_width": "66em", "body_max_width": "none"}
html_show_sourcelink = False


def link_documents(app, doctree):
    """Makes a link of the name of a document in the text, as the kernel's automarkup does."""
    names = "|".join(app.env.found_docs)
    for text in list(doctree.findall(nodes.Text)):
        if isinstance(text.parent, (nodes.FixedTextElement, nodes.literal, nodes.reference)):
            continue
        parts = re.split(rf"\b({names})\.rst\b", text)
        new = []
        for i, part in enumerate(parts):
            if i % 2:
                new.append(addnodes.pending_xref(
                    "", nodes.inline("", f"{part}.rst"), refdomain="std", reftype="doc", refdoc=app.env.docname,
                    reftarget=part, refexplicit=True, refwarn=True))
            else:
                new.append(nodes.Text(part))
        text.parent.replace(text, new)


def setup(app):
    """The kernel's documentation has its figures in kernel-figure, which also takes formats that
    browsers cannot show. SVG needs no more than a figure."""
    app.add_directive("kernel-figure", Figure)
    app.connect("doctree-read", link_documents)
