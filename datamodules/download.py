"""One file from the web, complete and verified, or nothing."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from memristor_plugins.errors import ConfigError

_CHUNK = 1 << 20
_log = logging.getLogger(__name__)


def download(url: str, target: Path, *, size: int, sha256: str, option: str, timeout: float = 30.0) -> None:
    """Download `url` to `target`.

    The bytes go to a temporary file beside the target, which takes the target's name only after size and
    checksum are right: at no time, and after no failure, is there a file of that name that is not the right
    one.

    Args:
        url: http(s) address.
        target: file to make; its folder is made if missing.
        size: bytes expected.
        sha256: expected checksum, hexadecimal.
        option: the setting that an error names.
        timeout: seconds without a byte after which the server counts as dead.

    Raises:
        ConfigError: if the server cannot be reached, or sends other bytes, or the target cannot be written.
    """
    advice = f"try again, or download it by other means and set {option} to the file"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise ConfigError(option, f"cannot write to {target.parent} ({_reason(error)})") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            received, digest = _fetch(url, out, size, timeout)
        if received != size:
            raise ConfigError(option, f"{url} sent {received:,} of {size:,} bytes; {advice}")
        if digest != sha256:
            raise ConfigError(option, f"{url} has SHA-256 {digest}, expected {sha256}; {advice}")
        os.replace(part, target)
    # URLError and TimeoutError are OSErrors; so is a full disk
    except (OSError, http.client.HTTPException) as error:
        raise ConfigError(option, f"cannot download {url} ({_reason(error)}); {advice}") from error
    finally:
        part.unlink(missing_ok=True)


def _fetch(url: str, out: BinaryIO, size: int, timeout: float) -> tuple[int, str]:
    """Copy the body to `out`, at most one byte over `size`; returns bytes received and their SHA-256."""
    request = urllib.request.Request(url, headers={"User-Agent": "memristor-plugins"})
    digest = hashlib.sha256()
    received = 0
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    _log.info("downloading %s (%.0f MB)", url, size / 1e6)
    # a bar in a log file of a cluster is noise; the line above stands there instead
    with (
        urllib.request.urlopen(request, timeout=timeout) as response,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task(url.rsplit("/", 1)[-1], total=size)
        # a server that never stops must not fill the disk
        while received <= size and (chunk := response.read(min(_CHUNK, size + 1 - received))):
            out.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            progress.update(task, completed=received)
    return received, digest.hexdigest()


def _reason(error: Exception) -> str:
    """The cause in one line."""
    if isinstance(error, urllib.error.HTTPError):
        # an HTTPError holds the open response
        error.close()
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
