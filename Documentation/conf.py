# SPDX-License-Identifier: GPL-2.0-only
"""How `make docs` builds this folder. In a kernel tree, the kernel's own conf.py builds it."""

from docutils.parsers.rst.directives.images import Figure

project = "vfio-pci-rust"
copyright = "2026, vfio-pci-rust developers"  # pylint: disable=redefined-builtin
highlight_language = "none"
html_theme_options = {"page_width": "66em", "body_max_width": "none"}
html_show_sourcelink = False


def setup(app):
    """The kernel's documentation has its figures in kernel-figure, which also takes formats that
    browsers cannot show. SVG needs no more than a figure."""
    app.add_directive("kernel-figure", Figure)
