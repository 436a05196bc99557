"""Check the headers of tar files before tarfile acts on them.

In Python before 3.11.14, a size below zero sends tarfile back to an earlier position, for ever
(CVE-2025-8194), and its patterns take minutes on a long list of attributes (CVE-2024-6232).
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import IO, Self

# The kinds of headers that describe the next header: long names, and named attributes.
_ATTRIBUTE_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
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
    """Open a tar file. Raise ValueError or an error of tarfile's unless it has this compression."""
    mode = f"r:{compression}"
    return tarfile.open(fileobj=file, mode=mode, tarinfo=_Header)  # type: ignore[call-overload]


def tar_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar file, each of which must end after the member before.

    Raise ValueError or an error of tarfile's for a damaged file.
    """
    end = 0
    for member in tar:
        _require_size(member)  # attributes can change the size in the header
        if tar.offset <= end:
            raise ValueError(f"{member.name!r} does not end behind what is before it")
        end = tar.offset
        yield member


def _require_size(member: tarfile.TarInfo) -> None:
    if member.size < 0:
        raise ValueError(f"{member.name!r} has {member.size} bytes")
