"""Load the benchmark data: tables as frames with text labels, images as float32 NCHW in [0, 1].

If the environment variable METAERR_DATA is set, all data are read from that folder. Otherwise MNIST
and Fashion-MNIST are downloaded once, and the sets that scikit-learn ships are used offline.
"""

import gzip
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split

_SHIPPED = {"breast_cancer": load_breast_cancer, "digits": load_digits, "wine": load_wine}
SHIPPED_TABLES = tuple(_SHIPPED)

# Columns whose value is only known after the outcome.
_LEAKS = {"bank_marketing": ["duration"]}

_IDX_URLS = {
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
}
_IDX_MD5 = {
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    "mnist": {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
}
_NPZ = {"cifar10": "cifar10_15k_5k.npz", "gtsrb": "gtsrb32.npz"}
IMAGES = ("fashion-mnist", "cifar10", "mnist", "gtsrb")


class Sample(NamedTuple):
    """Disjoint training and test rows of a data set; `groups` marks related training rows."""

    X_train: object
    y_train: np.ndarray
    X_test: object
    y_test: np.ndarray
    groups: np.ndarray = None


def data_folder():
    """Return the folder that METAERR_DATA names, or None."""
    folder = os.environ.get("METAERR_DATA")
    return Path(folder) if folder else None


def table_names():
    """Return the tables of METAERR_DATA, or those that scikit-learn ships if it is not set."""
    if data_folder() is None:
        return list(SHIPPED_TABLES)
    return sorted(p.name.removesuffix(".csv.gz") for p in data_folder().glob("tabular/*.csv.gz"))


def image_names():
    """Return the image sets of METAERR_DATA, or those that can be downloaded."""
    return list(IMAGES) if data_folder() is not None else list(_IDX_URLS)


def load_table(name):
    """Return a table as (frame, array of str labels)."""
    if name in _SHIPPED:
        bunch = _SHIPPED[name](as_frame=True)
        return bunch.data, bunch.target_names[bunch.target].astype(str)
    path = _local(f"tabular/{name}.csv.gz", f"table {name!r}", SHIPPED_TABLES)
    X = pd.read_csv(path)
    y = X.pop("target").astype(str).to_numpy(dtype=str)
    return X.drop(columns=_LEAKS.get(name, [])), y


def sample_table(name, *, n_train, seed, max_test=4000):
    """Draw training rows (at most 60 % of the table) and test rows."""
    X, y = load_table(name)
    n_train = min(n_train, int(0.6 * len(y)))
    train, test = train_test_split(
        np.arange(len(y)),
        train_size=n_train,
        test_size=min(max_test, len(y) - n_train),
        stratify=y,
        random_state=seed,
    )
    return Sample(
        X.iloc[train].reset_index(drop=True), y[train], X.iloc[test].reset_index(drop=True), y[test]
    )


def load_images(name):
    """Return all images of a set as a `Sample`, in their official order."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        X = (X / 16).reshape(-1, 1, 8, 8).astype(np.float32)
        train, test = train_test_split(np.arange(len(y)), test_size=0.4, random_state=0)
        return Sample(X[train], y[train], X[test], y[test])
    if name in _IDX_URLS:
        X_train, y_train, X_test, y_test = (
            _read_idx(_idx_file(name, f"{part}-{kind}-ubyte.gz"))
            for part in ("train", "t10k")
            for kind in ("images-idx3", "labels-idx1")
        )
        return Sample(_to_nchw(X_train), y_train, _to_nchw(X_test), y_test)
    if name not in _NPZ:
        raise ValueError(f"Unknown image set {name!r}, expected digits or one of {IMAGES}.")
    with np.load(_local(_NPZ[name], f"image set {name!r}", ["digits", *_IDX_URLS])) as arrays:
        return Sample(
            _to_nchw(arrays["x_train"]),
            arrays["y_train"].astype(np.int64),
            _to_nchw(arrays["x_test"]),
            arrays["y_test"].astype(np.int64),
            arrays.get("group_train"),
        )


def sample_images(name, *, n_train, seed, max_test=4000):
    """Draw training images from the official training part, test images from the test part."""
    full = load_images(name)
    train = _draw(full.y_train, n_train, seed)
    test = _draw(full.y_test, max_test, seed)
    groups = None if full.groups is None else full.groups[train]
    return Sample(
        full.X_train[train], full.y_train[train], full.X_test[test], full.y_test[test], groups
    )


def _draw(y, n_rows, seed):
    if n_rows >= len(y):
        return np.random.default_rng(seed).permutation(len(y))
    return train_test_split(np.arange(len(y)), train_size=n_rows, stratify=y, random_state=seed)[0]


def _local(path, what, alternatives):
    folder = data_folder()
    if folder is None or not (folder / path).exists():
        raise FileNotFoundError(
            f"The {what} is read from the file {path} in the folder that the environment variable "
            f"METAERR_DATA names, got METAERR_DATA={folder}. Set METAERR_DATA, or use one of "
            f"{', '.join(alternatives)}."
        )
    return folder / path


def _idx_file(name, file):
    folder = data_folder()
    if folder is not None and (folder / name / file).exists():
        return folder / name / file
    import pooch

    return pooch.retrieve(
        _IDX_URLS[name] + file,
        known_hash=f"md5:{_IDX_MD5[name][file]}",
        fname=f"{name}-{file}",
        path=pooch.os_cache("metaerr_sklearn"),
    )


def _read_idx(path):
    """Read an IDX file: two zero bytes, dtype code, number of axes, axis lengths, data."""
    with gzip.open(path) as file:
        content = file.read()
    n_axes = content[3]
    shape = np.frombuffer(content, ">i4", count=n_axes, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * n_axes).reshape(shape)
    return values.astype(np.int64) if n_axes == 1 else values


def _to_nchw(images):
    if images.ndim == 3:
        images = images[..., None]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32) / 255
