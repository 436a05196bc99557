"""Refuse members of zip files that are packed to an implausibly small size."""

from __future__ import annotations

import zipfile

# No honest member is both larger than this and packed by more than this factor.
_MAX_SURELY_PACKED, _MAX_PACKING = 2**26, 100


def require_honest_packing(member: zipfile.ZipInfo) -> None:
    """Raise ValueError if unpacking a small part of a zip file would fill the memory."""
    if member.file_size > max(_MAX_SURELY_PACKED, _MAX_PACKING * member.compress_size):
        raise ValueError(
            f"{member.compress_size} bytes would become {member.file_size}, more than "
            f"{_MAX_PACKING} times as many"
        )
