"""The version of minidl."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("minidl")
except PackageNotFoundError:  # a source tree that is not installed
    VERSION = "0+source"
