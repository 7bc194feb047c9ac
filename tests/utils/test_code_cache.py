"""What the caches of compiled code go by."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from numba.core.caching import IndexDataCacheFile, _CacheLocator

import minidl
from minidl.cpu.engine.jit import is_compiled
from minidl.utils import code_cache
from minidl.utils.code_cache import SourceLocator, StampedFile
from tests.conftest import each

PACKAGE = Path(minidl.__file__).parent


class Locator(SourceLocator, _CacheLocator):
    folders = "scalar", "cuda"


class File(StampedFile, IndexDataCacheFile):
    pass


@each("engine", ["cpu", "cuda"])
def test_the_digest_sees_every_file_that_code_is_made_from(engine, tmp_path, monkeypatch):
    copy = tmp_path / f"with {engine}"
    for folder in (engine, "scalar"):
        shutil.copytree(PACKAGE / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_cache, "PACKAGE", copy)
    digest = code_cache.source_digest.__wrapped__
    sources = sorted(copy.rglob("*.py"))
    assert {path.parent.name for path in sources} >= {"scalar", engine, "engine"} and len(sources) > 30
    digests = {digest("scalar", engine)}
    for path in sources:
        path.write_text(path.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
        digests.add(digest("scalar", engine))
    assert len(digests) == len(sources) + 1
    shutil.rmtree(copy / engine)
    with pytest.raises(RuntimeError, match=f"^no sources of compiled code were found in .*{engine}"):
        digest("scalar", engine)


def test_a_file_with_other_code_under_the_right_name_is_not_used(tmp_path):
    """Two processes that compile at the same time may choose the same number for two files."""
    mine, other = (File(str(tmp_path), "loop", "the sources") for _ in range(2))
    mine.save("float32", "code for float32")
    assert other.load("float32") == "code for float32"
    (name,) = tmp_path.glob("*.nbc")
    stale = File(str(tmp_path), "loop", "older sources")
    for written in [("the sources", "float64", "code for float64"), ("older sources", "float32", "older code")]:
        stale._save_data(name.name, written)
        assert other.load("float32") is None


def test_a_damaged_file_is_as_good_as_none(tmp_path):
    """As a power failure may leave it: empty, or cut off."""
    file = File(str(tmp_path), "loop", "the sources")
    for pattern in ("*.nbi", "*.nbc"):
        for length in (0, -5):
            file.save("float32", "code")
            (path,) = tmp_path.glob(pattern)
            path.write_bytes(path.read_bytes()[:length])
            assert file.load("float32") is None
    file.save("float32", "code")
    assert file.load("float32") == "code"


def test_without_a_home_there_is_no_cache(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(code_cache, "cache_folder", no_home)
    assert code_cache.cache_path() is None and not is_compiled()


@pytest.mark.parametrize(
    ("path", "kept"),
    [("cuda/dense.py", True), ("cuda/engine/edges.py", True), ("exercises/kernels.py", False), ("../x.py", False)],
)
def test_code_of_other_folders_is_not_kept(path, kept, tmp_path, monkeypatch):
    """No digest would notice an edit of them."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    found = Locator.from_function(each, os.path.normpath(PACKAGE / path))
    assert (found is not None) == kept
