"""Files are there whole or not at all, whatever the disk does; and places are tried before."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymetrics import files
from raymetrics.errors import StorageError, StorageUnavailable
from raymetrics.files import (
    append_lines,
    require_file_or_folder,
    require_writable_file,
    require_writable_folder,
    write_atomically,
)
from raymetrics.generators.network_files import read_bytes
from raymetrics.shards.store import Store
from tests.helpers.disks import limit_file_size, read_contents

FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]


@pytest.mark.parametrize("name", ["page", "new/folders/page"])
def test_a_file_is_replaced_whole(tmp_path: Path, name: str) -> None:
    for data in (b"old" * 100, b"new"):
        write_atomically(tmp_path / name, data)
        assert read_contents(tmp_path) == {name: data}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    write_atomically(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert read_contents(tmp_path / "there") == {"file": b"x"}


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("number", [*FULL, errno.EIO])
def test_a_disk_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    write_atomically(tmp_path / "page", b"old")
    append_lines(tmp_path / "lines", ["old"])

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, function, fail)
    kind = StorageUnavailable if number in FULL else StorageError
    with pytest.raises(kind, match=f"cannot write .*page: .*{os.strerror(number)}"):
        write_atomically(tmp_path / "page", b"new")
    if function == "fsync":
        with pytest.raises(kind, match="cannot write .*lines: "):
            append_lines(tmp_path / "lines", ["new"])
    assert read_contents(tmp_path) == {"page": b"old", "lines": b"old\n"}


@pytest.mark.parametrize("room", [0, 1, 3, 4, 5, 8, 11])
def test_no_room_leaves_what_was_there(tmp_path: Path, room: int) -> None:
    write_atomically(tmp_path / "page", b"old")
    append_lines(tmp_path / "lines", ["old"])
    with limit_file_size(room):
        for write in (
            lambda: write_atomically(tmp_path / "page", b"new" * 4),
            lambda: append_lines(tmp_path / "lines", ["new", "lines"]),
        ):
            with pytest.raises(StorageUnavailable, match="no room .*what was there is whole"):
                write()
    assert read_contents(tmp_path) == {"page": b"old", "lines": b"old\n"}
    append_lines(tmp_path / "lines", ["new"])
    assert read_contents(tmp_path)["lines"] == b"old\nnew\n"


@given(cut=st.integers(0, 20), lines=st.lists(st.sampled_from(["a", "bcd", ""]), min_size=1))
def test_lines_after_a_torn_one_are_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int, lines: list[str]
) -> None:
    path = tmp_path_factory.mktemp("torn") / "lines"
    before = b"first\nsecond\n"[: max(0, 13 - cut)]
    path.write_bytes(before)
    append_lines(path, lines)
    after = path.read_bytes()
    assert after.startswith(before)
    assert after.endswith("".join(f"{line}\n" for line in lines).encode())
    assert after.count(b"\n") == before.count(b"\n") + len(lines) + (
        before[-1:] not in (b"", b"\n")
    )


WRITER = """
import sys
from raymetrics.files import append_lines
for number in range(20):
    append_lines(sys.argv[1], [f"{sys.argv[2]} {number} {end}" for end in ("x" * 20_000, "y")])
"""


def test_lines_of_several_writers_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(writer)])
        for writer in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    ends = ("x" * 20_000, "y")
    expected = [f"{w} {n} {end}" for w in range(3) for n in range(20) for end in ends]
    assert sorted(path.read_text().splitlines()) == sorted(expected)


def test_lines_go_into_a_pipe() -> None:
    reading, writing = os.pipe()
    append_lines(f"/dev/fd/{writing}", ["a", "b"])
    os.close(writing)
    assert os.read(reading, 100) == b"a\nb\n"
    os.close(reading)


def test_a_full_device() -> None:
    with pytest.raises(StorageUnavailable, match="cannot write /dev/full: no room"):
        append_lines("/dev/full", ["a"])


@pytest.mark.parametrize("place", ["here", "new/and/below", "."])
def test_places_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    require_writable_folder(place)
    require_writable_file(f"{place}/file")
    require_writable_file(f"{place}/file", append=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]
    (tmp_path / "file").write_bytes(b"old")
    for appended in (False, True):
        require_writable_file("file", append=appended)
    assert (tmp_path / "file").read_bytes() == b"old"
    require_writable_file("/dev/stdout", append=True)


# As root may write everywhere, places that nobody may write to are in /proc.
FOLDERS = {
    "file": "file is a file; expected a folder",
    "file/below": "file is a file; expected a folder",
    "/proc/new": "cannot write into /proc/new: ",
    "/proc/new/below": "cannot write into /proc/new/below: ",
    "": "cannot write to '': expected the path of a local file or folder",
    "s3://bucket/x": "cannot write to 's3://bucket/x': expected the path",
    "n" * 300: "File name too long",
}
FILES = {
    "folder": "cannot write folder: it is a folder; expected a file's name",
    "new/": "cannot write new/: it is a folder",
    "file/below": "file is a file; expected a folder",
    "/proc/new": "cannot write /proc/new: No such file or directory (/proc); expected",
    "": "cannot write to ''",
    "s3://bucket/x": "cannot write to 's3://bucket/x'",
}


@pytest.mark.parametrize("place", FOLDERS)
def test_folders_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as raised:
        require_writable_folder(place)
    assert FOLDERS[place] in str(raised.value)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("place", FILES)
@pytest.mark.parametrize("appended", [False, True])
def test_files_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, appended: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError) as raised:
        require_writable_file(place, append=appended)
    assert FILES[place] in str(raised.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(StorageError, match="/dev/null: it is no file, and would be replaced"):
        require_writable_file("/dev/null")


def test_a_full_disk_is_found_before(tmp_path: Path) -> None:
    with limit_file_size(0), pytest.raises(StorageUnavailable, match="no room"):
        require_writable_folder(tmp_path)


def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    """A file of results may name one, and none of them ends."""
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path / "pipe.npz", Path("/dev/zero")):
        with pytest.raises(StorageError, match="is a device, a pipe or a socket"):
            read_bytes(str(path))
        store = Store(str(path.parent))
        for read in (store.read, store.open):
            with pytest.raises(StorageError, match="is a device, a pipe or a socket"):
                read(path.name)
    require_file_or_folder(tmp_path)
    require_file_or_folder(tmp_path / "nothing")
