"""Make minidl/data/digits.npz, the sample of MNIST that ships with the package, from the four MNIST files.

    python scripts/make_digits.py FOLDER [--out minidl/data/digits.npz]

The sample is balanced by class and drawn with a fixed seed; running the script again gives the same bytes
(with the same NumPy and zlib; others may draw or compress differently).
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minidl.data.idx import read_idx

SEED = 1998  # the year MNIST was published
TRAIN_PER_CLASS, TEST_PER_CLASS = 1_000, 200
OUT = Path(__file__).resolve().parent.parent / "minidl" / "data" / "digits.npz"


def sample(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Row numbers of `per_class` rows of each label, without repetition, in shuffled order."""
    rows = [rng.choice(np.flatnonzero(labels == label), per_class, replace=False) for label in np.unique(labels)]
    return rng.permutation(np.concatenate(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make digits.npz from the four MNIST files.")
    parser.add_argument("folder", type=Path, help="folder with train-images-idx3-ubyte.gz and the other three")
    parser.add_argument("--out", type=Path, default=OUT, help="the file to write (default: %(default)s)")
    options = parser.parse_args(arguments)

    rng = np.random.default_rng(SEED)
    arrays = {}
    for split, prefix, per_class in (("train", "train", TRAIN_PER_CLASS), ("test", "t10k", TEST_PER_CLASS)):
        images = read_idx(options.folder / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(options.folder / f"{prefix}-labels-idx1-ubyte.gz")
        rows = sample(labels, per_class, rng)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images[rows], labels[rows]
        print(f"{split}: {len(rows)} images, per class {np.bincount(labels[rows]).tolist()}")

    np.savez_compressed(options.out, **arrays)
    content = options.out.read_bytes()
    print(f"{options.out}: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
