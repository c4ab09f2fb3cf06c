"""Make releases in a root as a deployment does, watch a directory, and mount small disks."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from release_agent.model import Kind, Release, State, release_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from release_agent.store.root import Root

_IN_CREATE, _IN_DELETE, _IN_MOVED_TO, _IN_MOVED_FROM = 0x100, 0x200, 0x80, 0x40
_NAMES = {_IN_CREATE: "created", _IN_DELETE: "deleted", _IN_MOVED_TO: "moved here", _IN_MOVED_FROM: "moved away"}
_EVENT = struct.Struct("iIII")


def release(number: int, state: State = State.HEALTHY, *, published_at: str | None = None, revision: str = "") -> Release:
    """Make a release of this number, without files."""
    commit = f"{number:040x}"
    fingerprint = f"{number:012x}".ljust(64, "0")
    return Release(
        name=release_name(number, fingerprint),
        revision=revision or f"v{number}.0.0",
        kind=Kind.TAG,
        commits={"api": commit},
        fingerprint=fingerprint,
        state=state,
        created_at="2024-01-01T00:00:00.000000Z",
        published_at=published_at,
    )


def install(root: Root, number: int, state: State = State.HEALTHY, **files: str) -> Release:
    """Build a release, and move it to the others."""
    what = release(number, state)

    def write(directory: Path) -> None:
        for name, text in files.items():
            (directory / name).write_text(text)

    root.build(what.name, write)
    root.install(what)
    return what


@contextmanager
def watched(directory: Path) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """Record by inotify(7) which names in a directory appear and disappear: ``(what, name)``."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert libc.inotify_add_watch(descriptor, os.fsencode(directory), sum(_NAMES)) >= 0

    def events() -> list[tuple[str, str]]:
        data, found = os.read(descriptor, 1 << 16), []
        while data:
            _, mask, _, length = _EVENT.unpack_from(data)
            name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0").decode()
            found.append((_NAMES[mask & sum(_NAMES)], name))
            data = data[_EVENT.size + length :]
        return found

    try:
        yield events
    finally:
        os.close(descriptor)


@contextmanager
def small_ext4(place: Path, size: str, inodes: int) -> Iterator[Path]:
    """Mount an ext4 file system of a few megabytes, in a file beside the place; needs root, as small_disk() does."""
    options = ["-q", "-F", "-m", "0", "-N", str(inodes), "-O", "^has_journal"]
    with _loop(place, lambda image: ["mkfs.ext4", *options, str(image), size]) as disk:
        yield disk


@contextmanager
def small_xfs(place: Path) -> Iterator[Path]:
    """Mount an xfs file system as small as it can be, with 1 % for inodes; needs root, as small_disk() does."""
    with _loop(place, lambda image: ["mkfs.xfs", "-q", "-i", "maxpct=1", "-d", f"file,name={image},size=300m"]) as disk:
        yield disk


@contextmanager
def _loop(place: Path, make: Callable[[Path], list[str]]) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(make(_image(place)), check=True, capture_output=True)
    _mount(place)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        _image(place).unlink()


def _mount(place: Path) -> None:
    subprocess.run(["mount", "-o", "loop", _image(place), place], check=True)


def _image(place: Path) -> Path:
    return place.with_name(f"{place.name}.image")


# ioctl(2) of ext4 and xfs, with its argument: every later access fails with EIO, as on a device that is gone.
SHUT_DOWN = 0x8004587D, struct.pack("I", 2)


def shut_down(place: Path) -> None:
    """Make every access to an ext4 file system fail, as on a dead device."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, *SHUT_DOWN)
    finally:
        os.close(descriptor)


def cut_power(place: Path) -> None:
    """Simulate a power cut on an ext4 file system: data that was not durable is lost."""
    shut_down(place)
    subprocess.run(["umount", place], check=True)
    _mount(place)


@contextmanager
def small_disk(place: Path, size: str, inodes: int = 0) -> Iterator[Path]:
    """Mount a disk of a few pages; needs root, as the tests' container has."""
    place.mkdir(exist_ok=True)
    options = f"size={size}" + (f",nr_inodes={inodes}" if inodes else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
