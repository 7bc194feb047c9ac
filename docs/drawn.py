"""A scraper for sphinx-gallery: on the page of a tutorial, the figures that minidl itself draws into files.

sphinx-gallery takes those of pyplot, which `history.plot(figures / "curves.png")` does not use.
"""

import shutil
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

from minidl.cli.notebooks import drawn


def scrape(block, block_vars, gallery_conf):
    """Copy the figures that a block of code has drawn to where the gallery wants them."""
    folder = Path(block_vars["src_file"]).parent / "runs" / "tutorials"
    names = drawn(block[1]) if block[0] == "code" else []
    paths = [shutil.copy(folder / name, next(block_vars["image_path_iterator"])) for name in names]
    return figure_rst(paths, gallery_conf["src_dir"])


def _get_sg_image_scraper():
    return scrape
