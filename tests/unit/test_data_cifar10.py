"""CIFAR-10 from each of its sources, on tiny copies in the true layouts."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import pickle
import struct
import tarfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from memristor_plugins.datamodules import CIFAR10
from memristor_plugins.datamodules.cifar10_release import CIFAR10_RELEASE, Release
from memristor_plugins.datamodules.cifar10_sources import cache_folder
from memristor_plugins.errors import ConfigError

BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
SIZE = 4


def batch_arrays(name: str) -> tuple[NDArray[np.uint8], list[int]]:
    rng = np.random.default_rng(BATCHES.index(name))
    return rng.integers(0, 256, (SIZE, 3072), dtype=np.uint8), rng.integers(0, 10, SIZE).tolist()


def python2_pickle(data: NDArray[np.uint8], labels: list[int]) -> bytes:
    """The bytes that Python 2's cPickle wrote for a batch, opcode by opcode.

    A pickle made by Python 3 would differ where it matters: module names, byte strings, and 0 and 1 for the
    flags of the dtype.
    """

    def text(value: bytes) -> bytes:
        size = len(value)
        return (b"U" + bytes([size]) if size < 256 else b"T" + struct.pack("<i", size)) + value

    def number(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    def group(*values: bytes) -> bytes:
        return b"(" + b"".join(values) + b"t"

    unset = b"J\xff\xff\xff\xff"
    dtype = b"cnumpy\ndtype\n" + group(text(b"u1"), number(0), number(1)) + b"R"
    dtype += group(number(3), text(b"|"), b"NNN", unset, unset, number(0)) + b"b"
    array = b"cnumpy.core.multiarray\n_reconstruct\n"
    array += group(b"cnumpy\nndarray\n", group(number(0)), text(b"b")) + b"R"
    shape = group(*map(number, data.shape))
    array += group(number(1), shape, dtype, b"\x89", text(data.tobytes())) + b"b"
    items = text(b"batch_label") + text(b"training batch 1 of 5") + text(b"data") + array
    items += text(b"labels") + b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + items + b"u."


def write_batches(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in BATCHES:
        (folder / name).write_bytes(python2_pickle(*batch_arrays(name)))
    return folder


def write_archive(path: Path, names: list[str] = BATCHES, extra: dict[str, bytes] | None = None) -> Release:
    """An archive in the true layout; returns the release that describes it."""
    files = {f"cifar-10-batches-py/{name}": python2_pickle(*batch_arrays(name)) for name in names}
    files["cifar-10-batches-py/readme.html"] = b"<html></html>"
    with tarfile.open(path, "w:gz") as archive:
        for name, body in (files | (extra or {})).items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    body = path.read_bytes()
    return Release(
        f"http://127.0.0.1:9/{CIFAR10_RELEASE.file_name}",
        len(body),
        hashlib.sha256(body).hexdigest(),
        train_images=5 * SIZE,
        test_images=SIZE,
    )


def picture(pixels: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    """[3, h, w] (or [h, w] for grey), encoded."""
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    image.fromarray(pixels if pixels.ndim == 2 else pixels.transpose(1, 2, 0)).save(buffer, kind, **options)
    return buffer.getvalue()


def write_parquet(path: Path, images: list[bytes], labels: list[int], rename: str = "img") -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    column = [{"bytes": image, "path": None} for image in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({rename: pa.array(column, kind), "label": pa.array(labels, pa.int64())}), path)


def write_parquets(folder: Path, kind: str = "PNG", **options: Any) -> Path:
    """Training images in two shards."""
    folder.mkdir(exist_ok=True)
    images: dict[str, list[bytes]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for name in BATCHES:
        part = "test" if name == "test_batch" else "train"
        data, numbers = batch_arrays(name)
        images[part] += [picture(pixels, kind, **options) for pixels in data.reshape(-1, 3, 32, 32)]
        labels[part] += numbers
    write_parquet(folder / "train-00000-of-00002.parquet", images["train"][:13], labels["train"][:13])
    write_parquet(folder / "train-00001-of-00002.parquet", images["train"][13:], labels["train"][13:])
    write_parquet(folder / "test-00000-of-00001.parquet", images["test"], labels["test"])
    return folder


class Tiny(CIFAR10):
    """Twenty training images, of which six validate, and four test images."""

    _release: ClassVar[Release] = replace(CIFAR10_RELEASE, train_images=5 * SIZE, test_images=SIZE)
    _val_images: ClassVar[int] = 6


def tiny(root: Path | None, release: Release | None = None, **settings: Any) -> Tiny:
    kind = Tiny if release is None else type("Described", (Tiny,), {"_release": release})
    data = kind(root=None if root is None else str(root), batch_size=7, **settings)
    assert isinstance(data, Tiny)
    return data


def loaded(data: CIFAR10) -> CIFAR10:
    data.prepare_data()
    data.setup()
    return data


def assert_right(data: CIFAR10) -> None:
    assert data.name == "CIFAR-10"
    assert [len(part) for part in data.splits[1:]] == [14, 6, 4]
    expected = [batch_arrays(name) for name in BATCHES]
    pixels = torch.cat([part.pixels for part in data.splits[1:]])
    labels = torch.cat([part.labels for part in data.splits[1:]])
    assert np.array_equal(pixels.numpy(), np.concatenate([x for x, _ in expected]).reshape(-1, 3, 32, 32))
    assert labels.tolist() == [label for _, y in expected for label in y]


def failure(data: CIFAR10) -> str:
    """The one line that loading raises."""
    with pytest.raises(ConfigError) as raised:
        loaded(data)
    message = str(raised.value)
    assert message.startswith("data.root: ")
    assert "\n" not in message
    return message


def test_the_published_figures_of_the_data_set() -> None:
    assert CIFAR10._release is CIFAR10_RELEASE
    assert CIFAR10_RELEASE.train_images - CIFAR10._val_images == 45_000
    assert CIFAR10_RELEASE.test_images == 10_000
    assert CIFAR10_RELEASE.url == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert CIFAR10_RELEASE.sha256 == "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"


def test_batches_in_a_folder(tmp_path: Path) -> None:
    assert_right(loaded(tiny(write_batches(tmp_path / "a"))))


def test_batches_one_folder_below(tmp_path: Path) -> None:
    write_batches(tmp_path / "cifar-10-batches-py")
    assert_right(loaded(tiny(tmp_path)))


def test_the_archive_itself_and_a_folder_with_it(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    release = write_archive(archive)
    assert_right(loaded(tiny(archive, release)))
    assert_right(loaded(tiny(tmp_path, release)))
    assert list(tmp_path.iterdir()) == [archive]


def test_parquet_files(tmp_path: Path) -> None:
    assert_right(loaded(tiny(write_parquets(tmp_path / "a"))))


@pytest.mark.parametrize("quality", [75, 90])
def test_a_lossy_copy_is_named_so(tmp_path: Path, quality: int) -> None:
    data = loaded(tiny(write_parquets(tmp_path / "a", "JPEG", quality=quality)))
    assert data.name == f"CIFAR-10, JPEG-{quality} copy"
    limited = loaded(tiny(tmp_path / "a", limit_test=2))
    assert limited.name == f"CIFAR-10, JPEG-{quality} copy, first 2 test images"


@pytest.mark.parametrize("name", ["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"])
def test_one_lossy_file_makes_the_copy_lossy(tmp_path: Path, name: str) -> None:
    write_parquets(tmp_path / "a")
    write_parquets(tmp_path / "b", "JPEG", quality=75)
    os.replace(tmp_path / "b" / f"{name}.parquet", tmp_path / "a" / f"{name}.parquet")
    assert loaded(tiny(tmp_path / "a")).name == "CIFAR-10, JPEG-75 copy"


def test_jpegs_are_decoded_to_pillow_s_pixels(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    data = loaded(tiny(write_parquets(tmp_path / "a", "JPEG", quality=75)))
    encoded = picture(batch_arrays("test_batch")[0][2].reshape(3, 32, 32), "JPEG", quality=75)
    with image.open(io.BytesIO(encoded)) as opened:
        expected = np.asarray(opened).transpose(2, 0, 1)
    assert np.array_equal(data.splits.test.pixels[2].numpy(), expected)


def test_nothing_there(tmp_path: Path) -> None:
    assert failure(tiny(tmp_path / "nowhere")).startswith(
        f"data.root: {tmp_path / 'nowhere'} does not exist; expected a folder with cifar-10-python.tar.gz"
    )
    assert failure(tiny(tmp_path)).startswith(f"data.root: no CIFAR-10 in {tmp_path}; expected cifar-10-python.tar.gz")


@pytest.mark.parametrize("root", ["", 3])
def test_a_root_that_is_no_path(root: Any) -> None:
    with pytest.raises(ConfigError, match=r"^data\.root: expected a path or null"):
        Tiny(root=root)


def test_a_truncated_archive(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    release = write_archive(archive)
    archive.write_bytes(archive.read_bytes()[:1000])
    expected = f"has 1,000 of {release.size:,} bytes; it is truncated, delete it"
    assert expected in failure(tiny(archive, release))


def test_an_archive_with_another_checksum(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    release = write_archive(archive)
    body = bytearray(archive.read_bytes())
    body[len(body) // 2] ^= 1
    archive.write_bytes(body)
    message = failure(tiny(tmp_path, release))
    assert f"has SHA-256 {hashlib.sha256(body).hexdigest()}, expected {release.sha256}" in message


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"hello")
    release = replace(Tiny._release, size=5, sha256=hashlib.sha256(b"hello").hexdigest())
    assert "is not a readable .tar.gz archive" in failure(tiny(path, release))


def test_an_archive_that_lacks_a_batch(tmp_path: Path) -> None:
    release = write_archive(tmp_path / "a.tar.gz", BATCHES[:2] + BATCHES[3:])
    assert failure(tiny(tmp_path / "a.tar.gz", release)).endswith("lacks cifar-10-batches-py/data_batch_3")


def test_members_elsewhere_in_an_archive_are_neither_read_nor_extracted(tmp_path: Path) -> None:
    evil = dict.fromkeys(["../data_batch_1", "/tmp/data_batch_1", "other/test_batch", "data_batch_2"], b"x")
    release = write_archive(tmp_path / "a.tar.gz", extra=evil)
    assert_right(loaded(tiny(tmp_path / "a.tar.gz", release)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_a_folder_that_lacks_batches(tmp_path: Path) -> None:
    write_batches(tmp_path)
    (tmp_path / "data_batch_2").unlink()
    (tmp_path / "test_batch").unlink()
    assert f"{tmp_path} lacks data_batch_2, test_batch; " in failure(tiny(tmp_path))


class Call:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_batch_cannot_run_code(tmp_path: Path, protocol: int) -> None:
    write_batches(tmp_path)
    trace = tmp_path / "trace"
    evil = pickle.dumps({"data": Call(os.mkdir, str(trace)), "labels": []}, protocol)
    pickle.loads(evil)
    assert trace.exists(), "the pickle should be harmful"
    trace.rmdir()
    (tmp_path / "data_batch_4").write_bytes(evil)
    message = failure(tiny(tmp_path))
    expected = f"is not a CIFAR-10 batch (it names {os.mkdir.__module__}.mkdir, which is not array data)"
    assert message == f"data.root: {tmp_path / 'data_batch_4'} {expected}"
    assert not trace.exists()


@pytest.mark.parametrize("name", ["ndarray.tofile", "load", "memmap", "fromfile"])
def test_numpy_is_not_open_as_a_whole(tmp_path: Path, name: str) -> None:
    write_batches(tmp_path)
    # STACK_GLOBAL of protocol 4 resolves dotted names
    names = b"\x8c\x05numpy\x8c" + bytes([len(name)]) + name.encode()
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x04" + names + b"\x93.")
    assert f"it names numpy.{name}, which is not array data" in failure(tiny(tmp_path))


@pytest.mark.parametrize("body", [b"", b"\x80\x02}", b"hello", b"\x80\x02]."])
def test_a_damaged_batch(tmp_path: Path, body: bytes) -> None:
    write_batches(tmp_path)
    (tmp_path / "test_batch").write_bytes(body)
    assert f"{tmp_path / 'test_batch'} is not a CIFAR-10 batch (" in failure(tiny(tmp_path))


@pytest.mark.parametrize(
    ("data", "labels", "expected"),
    [
        (np.zeros((4, 3071), np.uint8), [0] * 4, "data is uint8 [4, 3071], expected uint8 [4, 3072]"),
        (np.zeros((3, 3072), np.uint8), [0] * 4, "data is uint8 [3, 3072], expected uint8 [4, 3072]"),
        (np.zeros((4, 3072), np.uint8), [0] * 3, "expected a list of 4 labels"),
        (np.zeros((4, 3072), np.uint8), [0, 1, 2, 10], "labels are not all integers from 0 to 9"),
    ],
)
def test_a_batch_of_another_kind(tmp_path: Path, data: NDArray[np.uint8], labels: list[int], expected: str) -> None:
    write_batches(tmp_path)
    (tmp_path / "data_batch_5").write_bytes(python2_pickle(data, labels))
    assert failure(tiny(tmp_path)) == f"data.root: {tmp_path / 'data_batch_5'}: {expected}"


def test_a_missing_parquet_file(tmp_path: Path) -> None:
    write_parquets(tmp_path)
    (tmp_path / "test-00000-of-00001.parquet").unlink()
    assert f"{tmp_path} has no test-*.parquet" in failure(tiny(tmp_path))


def test_a_missing_parquet_shard(tmp_path: Path) -> None:
    write_parquets(tmp_path)
    (tmp_path / "train-00001-of-00002.parquet").unlink()
    assert failure(tiny(tmp_path)).endswith("train-00000-of-00002.parquet: 13 images, expected 20")


def test_a_parquet_file_without_the_column(tmp_path: Path) -> None:
    write_parquets(tmp_path)
    path = tmp_path / "test-00000-of-00001.parquet"
    write_parquet(path, [b""] * 4, [0] * 4, rename="image")
    expected = "has no column img; expected column img = struct{bytes, path}, column label = integer"
    assert failure(tiny(tmp_path)) == f"data.root: {path} {expected}"


def test_a_parquet_file_with_another_kind_of_column(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    write_parquets(tmp_path)
    path = tmp_path / "test-00000-of-00001.parquet"
    pq.write_table(pa.table({"img": [b"x"] * 4, "label": [0] * 4}), path)
    assert f"{path} has img: binary, label: int64; expected column img = struct" in failure(tiny(tmp_path))


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    write_parquets(tmp_path)
    path = tmp_path / "train-00000-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path} is not a readable Parquet file (" in failure(tiny(tmp_path))


GREY = np.zeros((32, 32), np.uint8)
SMALL = np.zeros((3, 28, 32), np.uint8)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (lambda: picture(SMALL), "image 2 is 32 x 28 RGB, expected 32 x 32 RGB"),
        (lambda: picture(GREY), "image 2 is 32 x 32 L, expected 32 x 32 RGB"),
        (lambda: b"hello", "image 2 is not a readable PNG or JPEG ("),
        (lambda: None, "image 2 is not a readable PNG or JPEG ("),
        (lambda: picture(SMALL.repeat(2, 1)[:, :32], "BMP"), "image 2 is not a readable PNG or JPEG ("),
        (lambda: picture(SMALL.repeat(2, 1)[:, :32])[:50], "image 2 is not a readable PNG or JPEG ("),
    ],
)
def test_a_parquet_file_with_a_wrong_image(tmp_path: Path, image: Any, expected: str) -> None:
    write_parquets(tmp_path)
    path = tmp_path / "test-00000-of-00001.parquet"
    good = picture(np.zeros((3, 32, 32), np.uint8))
    write_parquet(path, [good, good, image(), good], [0] * 4)
    assert f"data.root: {path}: {expected}" in failure(tiny(tmp_path))


@pytest.mark.parametrize("label", [-1, 10, None])
def test_a_parquet_file_with_a_wrong_label(tmp_path: Path, label: Any) -> None:
    write_parquets(tmp_path)
    path = tmp_path / "test-00000-of-00001.parquet"
    write_parquet(path, [picture(np.zeros((3, 32, 32), np.uint8))] * 4, [0, 1, label, 3])
    assert failure(tiny(tmp_path)) == f"data.root: {path}: labels are not all integers from 0 to 9"


@pytest.mark.parametrize("package", ["pyarrow", "PIL"])
def test_without_the_parquet_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    write_parquets(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, package, None)
    assert "need pyarrow and pillow: pip install 'memristor-plugins[parquet]'" in failure(tiny(tmp_path))


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MEMRISTOR_PLUGINS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "memristor-plugins"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "memristor-plugins"
    monkeypatch.setenv("MEMRISTOR_PLUGINS_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_the_download_happens_once_and_only_if_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("MEMRISTOR_PLUGINS_CACHE", str(cache))
    monkeypatch.setenv("no_proxy", "*")
    release = write_archive(tmp_path / "cifar-10-python.tar.gz")
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, format: str, *args: object) -> None:
            requests.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        release = replace(release, url=f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz")
        message = failure(tiny(None, release, download=False))
        assert f"{cache / 'cifar-10-python.tar.gz'} does not exist; set data.download=true" in message
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        assert_right(loaded(tiny(None, release)))
        assert_right(loaded(tiny(None, release)))
        server.shutdown()
        thread.join()
    assert requests == ["/cifar-10-python.tar.gz"]
    assert_right(loaded(tiny(None, release, download=False)))
    assert [path.name for path in cache.iterdir()] == ["cifar-10-python.tar.gz"]


def test_a_root_is_never_downloaded_to(tmp_path: Path) -> None:
    failure(tiny(tmp_path, download=True))
    assert list(tmp_path.iterdir()) == []
