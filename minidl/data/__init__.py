"""Data: digits that ship with the package, MNIST and Fashion-MNIST, IDX files, two-dimensional toy problems."""

from minidl.data.dataset import Dataset, one_hot
from minidl.data.idx import read_idx
from minidl.data.mnist import digits, fashion_mnist, mnist
from minidl.data.preprocessing import PCA, Center, Chain, Preprocessing, Standardize, Whiten, load_preprocessing
from minidl.data.toy import circles, gaussians, spiral, xor

__all__ = [
    "PCA",
    "Center",
    "Chain",
    "Dataset",
    "Preprocessing",
    "Standardize",
    "Whiten",
    "circles",
    "digits",
    "fashion_mnist",
    "gaussians",
    "load_preprocessing",
    "mnist",
    "one_hot",
    "read_idx",
    "spiral",
    "xor",
]
