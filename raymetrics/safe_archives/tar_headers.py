"""Tar files whose headers are checked before tarfile acts on them.

By a size below zero tarfile goes back to where it was, for ever (CVE-2025-8194), and on a long
list of attributes its patterns take minutes (CVE-2024-6232): Pythons before 3.11.14 do.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import IO, Self

# The kinds of headers that only say more of the next: long names, and anything by name.
_ATTRIBUTE_HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
_MAX_ATTRIBUTE_BYTES = 2**15


class _Header(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        _require_size(header)
        if header.type in _ATTRIBUTE_HEADERS and header.size > _MAX_ATTRIBUTE_BYTES:
            raise ValueError(f"attributes of {header.size} bytes, at most {_MAX_ATTRIBUTE_BYTES}")
        return header


def open_tar(file: IO[bytes], compression: str = "") -> tarfile.TarFile:
    """Open a tar; ValueError or tarfile's errors if it is none, or not compressed in this way."""
    mode = f"r:{compression}"
    return tarfile.open(fileobj=file, mode=mode, tarinfo=_Header)  # type: ignore[call-overload]


def tar_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Give the members of a tar, each of which ends behind the one before; ValueError or tarfile's
    errors where it is damaged."""
    end = 0
    for member in tar:
        _require_size(member)  # attributes can state another than the header did
        if tar.offset <= end:
            raise ValueError(f"{member.name!r} does not end behind what is before it")
        end = tar.offset
        yield member


def _require_size(member: tarfile.TarInfo) -> None:
    if member.size < 0:
        raise ValueError(f"{member.name!r} has {member.size} bytes")
