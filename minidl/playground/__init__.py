"""The lectures' experiments in the browser: `minidl playground`.

settings.py       what can be set, within which bounds; the page draws its controls from this table
network.py        data, network and training run from the settings, and the same as a program to copy
picture.py        everything that the page shows of one moment
session.py        a run that trains when it is asked to; a bounded number of them
presets.py        an experiment of the lectures each
server.py         the requests: who may ask, and for how much
page/             what the browser gets: one page, one module, one style sheet
"""

from minidl.playground.server import serve

__all__ = ["serve"]
