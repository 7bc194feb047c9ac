"""Data: digits that ship with the package, MNIST and Fashion-MNIST, toy problems, your own files, and what is done to
data before and during training: splitting, preprocessing, augmentation, pseudo-labels."""

from minidl.data.augmentation import (
    Augmentation,
    AugmentationStep,
    CutMix,
    Cutout,
    Geometric,
    Mixing,
    Mixup,
    Noise,
    Rotation,
    Scaling,
    Shift,
)
from minidl.data.dataset import Dataset
from minidl.data.idx import read_idx
from minidl.data.loading import read_csv, read_npy, read_npz
from minidl.data.mnist import digits, fashion_mnist, mnist
from minidl.data.preprocessing import PCA, Center, Chain, Preprocessing, Standardize, Whiten, load_preprocessing
from minidl.data.semi_supervised import pseudo_label
from minidl.data.splitting import concatenate, split
from minidl.data.targets import balanced_class_weight, one_hot
from minidl.data.toy import circles, gaussians, spiral, xor

__all__ = [
    "PCA",
    "Augmentation",
    "AugmentationStep",
    "Center",
    "Chain",
    "CutMix",
    "Cutout",
    "Dataset",
    "Geometric",
    "Mixing",
    "Mixup",
    "Noise",
    "Preprocessing",
    "Rotation",
    "Scaling",
    "Shift",
    "Standardize",
    "Whiten",
    "balanced_class_weight",
    "circles",
    "concatenate",
    "digits",
    "fashion_mnist",
    "gaussians",
    "load_preprocessing",
    "mnist",
    "one_hot",
    "pseudo_label",
    "read_csv",
    "read_idx",
    "read_npy",
    "read_npz",
    "spiral",
    "split",
    "xor",
]
