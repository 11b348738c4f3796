"""CIFAR-10 as Parquet files of PNG or JPEG images, the layout in which data-set hubs distribute it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memristor_plugins.datamodules.cifar10_release import CLASSES, SIDE, Part, Release, Stored
from memristor_plugins.errors import ConfigError

_LAYOUT = "column img = struct{bytes, path}, column label = integer"


def read_parquet(train: Sequence[Path], test: Sequence[Path], release: Release) -> Stored:
    """Read and decode all images.

    Args:
        train: the shards of the training images, in order.
        test: likewise of the test images.
        release: how many images there should be.

    Raises:
        ConfigError: for `data.root`, if pyarrow or pillow is missing, or a file is not what it should be.
    """
    return Stored(_read_part(train, release.train_images), _read_part(test, release.test_images))


def _read_part(paths: Sequence[Path], images: int) -> Part:
    shards = [_read_columns(path) for path in paths]
    found = sum(len(labels) for _, labels in shards)
    if found != images:
        names = ", ".join(str(path) for path in paths)
        raise ConfigError("data.root", f"{names}: {found:,} images, expected {images:,}")
    pixels = np.empty((images, 3, SIDE, SIDE), dtype=np.uint8)
    lossy = None
    first = 0
    for path, (encoded, _) in zip(paths, shards, strict=True):
        lossy = _decode(path, encoded, pixels[first : first + len(encoded)]) or lossy
        first += len(encoded)
    return Part(pixels, np.concatenate([labels for _, labels in shards]), lossy)


def _read_columns(path: Path) -> tuple[list[Any], NDArray[np.int64]]:
    """Encoded images and labels of one file."""
    try:
        import PIL  # noqa: F401
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError(
            "data.root",
            f"Parquet files need pyarrow and pillow: pip install 'memristor-plugins[parquet]' ({error})",
        ) from error
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            missing = [name for name in ("img", "label") if name not in schema.names]
            if missing:
                raise ConfigError("data.root", f"{path} has no column {' and '.join(missing)}; expected {_LAYOUT}")
            image, label = schema.field("img").type, schema.field("label").type
            if not (pa.types.is_struct(image) and image.get_field_index("bytes") >= 0 and pa.types.is_integer(label)):
                raise ConfigError("data.root", f"{path} has img: {image}, label: {label}; expected {_LAYOUT}")
            table = file.read(columns=["img", "label"])
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise ConfigError("data.root", f"{path} is not a readable Parquet file ({reason})") from error
    labels = table["label"]
    if labels.null_count or (len(labels) and not 0 <= pc.min(labels).as_py() <= pc.max(labels).as_py() < CLASSES):
        raise ConfigError("data.root", f"{path}: labels are not all integers from 0 to {CLASSES - 1}")
    encoded = pc.struct_field(table["img"], "bytes").to_pylist()
    return encoded, labels.to_numpy().astype(np.int64)


def _decode(path: Path, encoded: list[Any], out: NDArray[np.uint8]) -> str | None:
    """Decode n images into `out`, [n, 3, 32, 32]; returns how lossy they are.

    60 us an image on one core. Threads were tried and gain nothing: at this size most of it is pillow's
    Python code.
    """
    from PIL import Image

    lossy = None
    for row, data in enumerate(encoded):
        try:
            # two decoders only: files from elsewhere have no business with the other forty
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                if image.size != (SIDE, SIDE) or image.mode != "RGB":
                    found = f"{image.width} x {image.height} {image.mode}"
                    raise ConfigError("data.root", f"{path}: image {row} is {found}, expected {SIDE} x {SIDE} RGB")
                out[row] = np.asarray(image).transpose(2, 0, 1)
                if lossy is None and image.format == "JPEG":
                    lossy = _jpeg_quality(image)
        except ConfigError:
            raise
        # OSError for most damage, but decoders of broken files raise nearly anything
        except Exception as error:
            raise ConfigError("data.root", f"{path}: image {row} is not a readable PNG or JPEG ({error})") from error
    return lossy


def _jpeg_quality(image: Any) -> str:
    """Such as "JPEG-75": the libjpeg quality with the quantisation tables of this image; else "JPEG"."""
    from PIL import Image

    for quality in range(1, 101):
        buffer = io.BytesIO()
        Image.new("RGB", (1, 1)).save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as opened:
            reference: Any = opened  # a JpegImageFile, which alone has the tables
            if reference.quantization == image.quantization:
                return f"JPEG-{quality}"
    return "JPEG"
