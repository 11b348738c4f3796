"""Where CIFAR-10 may lie on a disk, and which reader each place needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from memristor_plugins.datamodules.cifar10_batches import read_archive, read_folder
from memristor_plugins.datamodules.cifar10_parquet import read_parquet
from memristor_plugins.datamodules.cifar10_release import (
    BATCH_FOLDER,
    TEST_BATCH,
    TRAIN_BATCHES,
    Release,
    Stored,
)
from memristor_plugins.datamodules.download import download
from memristor_plugins.errors import ConfigError

CACHE_VARIABLE = "MEMRISTOR_PLUGINS_CACHE"


def cache_folder() -> Path:
    """$MEMRISTOR_PLUGINS_CACHE, or memristor-plugins below $XDG_CACHE_HOME, or below ~/.cache."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "memristor-plugins"


def fetch(release: Release) -> Path:
    """The archive in the cache; downloaded if it is not there."""
    path = cache_folder() / release.file_name
    if not path.exists():
        download(release.url, path, size=release.size, sha256=release.sha256, option="data.root")
    return path


def locate(root: Path, release: Release) -> Callable[[], Stored]:
    """The reader for what lies at `root`; reads nothing yet.

    Looked for in this order: the archive (a file, or in the folder), extracted batches (in the folder or in
    cifar-10-batches-py below it), Parquet files train-*.parquet and test-*.parquet.

    Raises:
        ConfigError: for `data.root`, if there is none of them.
    """
    expected = f"{release.file_name}, {BATCH_FOLDER}/ or its files, or train-*.parquet and test-*.parquet"
    if not root.exists():
        raise ConfigError("data.root", f"{root} does not exist; expected a folder with {expected}")
    if root.is_file():
        return partial(read_archive, root, release)
    archive = root / release.file_name
    if archive.is_file():
        return partial(read_archive, archive, release)
    for folder in (root, root / BATCH_FOLDER):
        # one of them is enough to know what is meant; the reader names those that are missing
        if any((folder / name).exists() for name in (*TRAIN_BATCHES, TEST_BATCH)):
            return partial(read_folder, folder, release)
    train, test = sorted(root.glob("train-*.parquet")), sorted(root.glob("test-*.parquet"))
    if train and test:
        return partial(read_parquet, train, test, release)
    if train or test:
        lacking = "test" if train else "train"
        raise ConfigError("data.root", f"{root} has no {lacking}-*.parquet beside the other Parquet files")
    raise ConfigError("data.root", f"no CIFAR-10 in {root}; expected {expected}")
