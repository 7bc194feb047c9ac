"""MNIST and Fashion-MNIST from the four IDX files, and `digits`, a sample of MNIST that ships with the package.

Sources: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
Proc. IEEE 86 (1998); H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", https://arxiv.org/abs/1708.07747
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from minidl.data.dataset import Dataset
from minidl.data.idx import decompressed, read_idx
from minidl.utils import checks, files

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
TIMEOUT = 30  # seconds without an answer from a server
MAX_BYTES = 64 << 20  # more than the largest file, 47,040,016 bytes decompressed; the rest of a larger one is not read


@dataclass(frozen=True)
class Source:
    """A published data set of four IDX files."""

    title: str
    name: str  # of its folder
    mirrors: tuple[str, ...]  # each holds the files under their name + ".gz"
    sha256: dict[str, str]  # of the decompressed files


MNIST = Source(
    title="MNIST",
    name="mnist",
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    sha256={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)
FASHION_MNIST = Source(
    title="Fashion-MNIST",
    name="fashion_mnist",
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    ),
    sha256={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)


def digits() -> tuple[Dataset, Dataset]:
    """Load handwritten digits that ship with the package: a sample of MNIST, no download.

    Each row of x is a 28 x 28 image, row by row, from 0 for background to 1 for ink. Both sets are shuffled, so that
    the first rows are a fair sample: `train[:1000]`. Source: the file NOTICE beside digits.npz.

    Returns:
        (train, test). In train x is (10000, 784) float32 in [0, 1] and y (10000,) int64 in 0..9, 1,000 images of each
        digit. In test x is (2000, 784) and y (2000,), 200 images of each digit; `test.held_out` is true.
    """
    with (
        resources.files("minidl.data").joinpath("digits.npz").open("rb") as stream,
        np.load(stream, allow_pickle=False) as arrays,
    ):
        return (
            Dataset(_inputs(arrays["train_images"]), arrays["train_labels"].astype(np.int64)),
            Dataset(_inputs(arrays["test_images"]), arrays["test_labels"].astype(np.int64), held_out=True),
        )


def mnist(folder: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """Load all of MNIST.

    Each row of x is a 28 x 28 image, row by row, from 0 for background to 1 for ink.

    The four files (train-images-idx3-ubyte.gz and so on, or the same unzipped, without .gz) are read from
    `folder`, and only from there, if it is given. Otherwise from the first of these places that has all four:
    the subfolder "mnist" of the folder in the environment variable MINIDL_DATA, or that folder itself;
    "minidl/mnist" in the user's cache folder; "minidl/mnist" in /usr/share, /usr/local/share or %PROGRAMDATA%.
    If there is none, they are downloaded into the cache (11 MB), each checked against its SHA-256 and written
    whole or not at all.

    Args:
        folder: The folder with the four files; None for the places above.

    Returns:
        (train, test). In train x is (60000, 784) float32 in [0, 1] and y (60000,) int64 in 0..9; test is the same
        with 10,000 rows, held out.

    Raises:
        FileNotFoundError: If a file is missing and cannot be downloaded; the message says where to put it.
        ValueError: If a file is damaged or does not hold what it should; the message names the path.
    """
    return _load(MNIST, folder)


def fashion_mnist(folder: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """Load Fashion-MNIST, images of clothes in the format of MNIST.

    Shapes, units and places (subfolder "fashion_mnist"; the download is 31 MB) are those of `mnist`. Classes:
    0 T-shirt/top, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag, 9 ankle boot.

    Args:
        folder: The folder with the four files; None for the places that `mnist` lists.

    Returns:
        (train, test), as `mnist` returns them.

    Raises:
        FileNotFoundError, ValueError: As `mnist` does.
    """
    return _load(FASHION_MNIST, folder)


def _load(source: Source, folder: str | os.PathLike[str] | None) -> tuple[Dataset, Dataset]:
    if folder is not None:
        folder = checks.path("folder", folder)
        if missing := _missing(folder):
            raise FileNotFoundError(
                f"folder got {str(folder)!r}; expected the four {source.title} files in it, "
                f"but {missing[0]}.gz is missing"
            )
        return _read(source, folder)
    for place in _places(source):
        if not _missing(place) and _belongs(source, place):
            return _read(source, place)
    cache = _cache(source)
    for file in _missing(cache):
        _download(source, file, cache)
    return _read(source, cache)


# Where the files can be


def _places(source: Source) -> Iterator[Path]:
    """Yield the folders to look in, in order; lazily, because not every process has a home folder for the cache."""
    if chosen := os.environ.get("MINIDL_DATA"):
        yield Path(chosen, source.name)
        yield Path(chosen)
    yield _cache(source)
    if sys.platform == "win32":
        yield Path(os.environ.get("PROGRAMDATA") or r"C:\ProgramData", "minidl", source.name)
    else:
        yield Path("/usr/share/minidl", source.name)
        yield Path("/usr/local/share/minidl", source.name)


def _cache(source: Source) -> Path:
    return files.cache_folder() / source.name


def _path(folder: Path, file: str) -> Path:
    """Return the path of the compressed file in `folder` if it exists, else that of the unzipped one."""
    compressed = folder / f"{file}.gz"
    return compressed if os.path.isfile(compressed) else folder / file


def _missing(folder: Path) -> list[str]:
    return [file for file in TRAIN + TEST if not os.path.isfile(_path(folder, file))]


def _belongs(source: Source, folder: Path) -> bool:
    """Return False if `folder` holds the other data set, whose files have the same names.

    The training labels tell them apart. Changed or damaged files pass: reading them gives the better message.
    """
    labels = _path(folder, TRAIN[1])
    others = [other.sha256[TRAIN[1]] for other in (MNIST, FASHION_MNIST) if other is not source]
    try:
        return _sha256(labels.read_bytes()) not in others
    except ValueError:
        return True


# Reading


def _read(source: Source, folder: Path) -> tuple[Dataset, Dataset]:
    if not _belongs(source, folder):
        raise ValueError(f"{folder} does not hold {source.title}: its training labels are those of another data set")
    return _read_split(folder, *TRAIN), _read_split(folder, *TEST, held_out=True)


def _read_split(folder: Path, image_file: str, label_file: str, held_out: bool = False) -> Dataset:
    image_path, label_path = _path(folder, image_file), _path(folder, label_file)
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise ValueError(f"{image_path} holds {checks.describe(images)}; expected (n, 28, 28) of uint8")
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise ValueError(f"{label_path} holds {checks.describe(labels)}; expected ({len(images)},) of uint8")
    y = checks.labels(str(label_path), labels, len(images), classes=10)
    return Dataset(_inputs(images), y, held_out=held_out)


def _inputs(images: np.ndarray) -> np.ndarray:
    """Convert images (n, 28, 28) of uint8 to rows (n, 784) of float32 in [0, 1]."""
    x = images.reshape(len(images), -1).astype(np.float32)
    x /= 255
    return x


# Downloading


def _download(source: Source, file: str, cache: Path) -> None:
    """Download one file into `cache` from the first mirror that has the right bytes."""
    reasons = []
    for mirror in source.mirrors:
        try:
            data = _fetch(f"{mirror}{file}.gz", source.sha256[file])
        except (OSError, http.client.HTTPException, ValueError) as error:
            reasons.append(f"{mirror}: {error}")
            continue
        cache.mkdir(parents=True, exist_ok=True)
        with files.write_whole(cache / f"{file}.gz") as stream:
            stream.write(data)
        return
    places = ", ".join(str(place) for place in _places(source))
    raise FileNotFoundError(
        f"{source.title} needs {file}.gz, which is in none of {places} and could not be downloaded "
        f"({'; '.join(reasons)}); put the four .gz files into {cache}, or set MINIDL_DATA to the folder that has them"
    )


def _fetch(url: str, sha256: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        data: bytes = response.read(MAX_BYTES)
    found = _sha256(data)
    if found != sha256:
        raise ValueError(f"the SHA-256 of the decompressed file is {found}; expected {sha256}")
    return data


def _sha256(data: bytes) -> str:
    """Return the SHA-256 of `data`, decompressed if it is gzip: the same contents can be compressed in many ways."""
    with decompressed(io.BytesIO(data), "the file") as stream:
        return hashlib.sha256(stream.read(MAX_BYTES)).hexdigest()
