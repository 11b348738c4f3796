"""CIFAR-10 in its original form: six pickled batches, in an archive or a folder."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from memristor_plugins.datamodules.cifar10_release import (
    BATCH_FOLDER,
    CLASSES,
    SIDE,
    TEST_BATCH,
    TRAIN_BATCHES,
    Part,
    Release,
    Stored,
)
from memristor_plugins.errors import ConfigError

# numpy's public route to the function that its pickles name, whose module was renamed in numpy 2
_reconstruct = np.empty(0).__reduce__()[0]


def _dtype(spec: str, align: object = False, copy: object = False) -> np.dtype[Any]:
    """np.dtype as Python 2's pickles call it, with 0 and 1 for the flags: numpy 2.4.0 to 2.4.4 warn of it."""
    return np.dtype(spec, align=bool(align), copy=bool(copy))


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
}


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles containers, numbers, strings and numpy arrays, and refuses everything else.

    A pickle may name any callable to be called while it loads; here only those that rebuild an array can be
    named.
    """

    def __init__(self, file: IO[bytes]) -> None:
        # the batches were written by Python 2, whose strings hold the arrays' bytes
        super().__init__(file, encoding="latin1")

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """The callable for a name in the pickle, if it is on the list."""
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which is not array data") from None


def read_folder(folder: Path, release: Release) -> Stored:
    """Read the batches extracted to `folder`.

    Raises:
        ConfigError: for `data.root`, if a batch is missing or is not what it should be.
    """
    missing = [name for name in (*TRAIN_BATCHES, TEST_BATCH) if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            "data.root", f"{folder} lacks {', '.join(missing)}; CIFAR-10 has five data_batch_N and test_batch"
        )
    parts = {}
    for name in (*TRAIN_BATCHES, TEST_BATCH):
        try:
            with open(folder / name, "rb") as file:
                parts[name] = _read_batch(file, str(folder / name), _images(name, release))
        except OSError as error:
            raise ConfigError("data.root", f"cannot read {folder / name} ({error.strerror})") from error
    return _assemble(parts)


def verify_archive(path: Path, release: Release) -> None:
    """Check size and SHA-256 of the archive.

    Raises:
        ConfigError: for `data.root`.
    """
    try:
        size = path.stat().st_size
        if size != release.size:
            what = "it is truncated" if size < release.size else "it is another file"
            raise ConfigError("data.root", f"{path} has {size:,} of {release.size:,} bytes; {what}, {_ADVICE}")
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError("data.root", f"cannot read {path} ({error.strerror})") from error
    if digest != release.sha256:
        raise ConfigError("data.root", f"{path} has SHA-256 {digest}, expected {release.sha256}; {_ADVICE}")


_ADVICE = "delete it and download it again"


def read_archive(path: Path, release: Release) -> Stored:
    """Verify the archive and read the batches out of it, in memory: nothing is extracted.

    Raises:
        ConfigError: for `data.root`.
    """
    verify_archive(path, release)
    parts = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                if folder != BATCH_FOLDER or name not in (*TRAIN_BATCHES, TEST_BATCH):
                    continue
                file = archive.extractfile(member)
                if file is None:
                    raise ConfigError("data.root", f"{path}: {member.name} is not a file")
                with file:
                    parts[name] = _read_batch(file, f"{path}:{member.name}", _images(name, release))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ConfigError("data.root", f"{path} is not a readable .tar.gz archive ({error})") from error
    missing = [name for name in (*TRAIN_BATCHES, TEST_BATCH) if name not in parts]
    if missing:
        raise ConfigError("data.root", f"{path} lacks {', '.join(f'{BATCH_FOLDER}/{name}' for name in missing)}")
    return _assemble(parts)


def _images(name: str, release: Release) -> int:
    return release.test_images if name == TEST_BATCH else release.train_images // len(TRAIN_BATCHES)


def _read_batch(file: IO[bytes], where: str, images: int) -> Part:
    """One batch: a dictionary with `data`, [images, 3072] uint8 (red, green, blue planes), and `labels`."""
    try:
        batch = ArrayUnpickler(file).load()
    # damaged pickles fail in as many ways as there are opcodes; the archive's own errors are the caller's
    except (OSError, zlib.error):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError("data.root", f"{where} is not a CIFAR-10 batch ({reason})") from error
    if not isinstance(batch, dict) or not {"data", "labels"} <= batch.keys():
        raise ConfigError("data.root", f"{where} is not a CIFAR-10 batch (no `data` and `labels` in it)")
    data, labels = batch["data"], batch["labels"]
    shape = (images, 3 * SIDE * SIDE)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != shape:
        found = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ConfigError("data.root", f"{where}: data is {found}, expected uint8 {list(shape)}")
    if not isinstance(labels, list) or len(labels) != images:
        raise ConfigError("data.root", f"{where}: expected a list of {images} labels")
    if not all(type(label) is int and 0 <= label < CLASSES for label in labels):
        raise ConfigError("data.root", f"{where}: labels are not all integers from 0 to {CLASSES - 1}")
    return Part(data.reshape(images, 3, SIDE, SIDE), np.array(labels, dtype=np.int64))


def _assemble(parts: dict[str, Part]) -> Stored:
    train = [parts[name] for name in TRAIN_BATCHES]
    pixels = np.concatenate([part.pixels for part in train])
    return Stored(Part(pixels, np.concatenate([part.labels for part in train])), parts[TEST_BATCH])
