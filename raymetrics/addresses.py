"""Addresses of data, and the secrets that must not be in them.

What a user writes as a place or a source is stored with what is made of it, printed in errors and
carried by results. So credentials come from the environment or from the machine's role alone.
"""

from __future__ import annotations

import re

from raymetrics.errors import RaymetricsError

USER = re.compile(r"(\w+)://([^/?#\s]*)@")
OPTION = re.compile(r"[?&]([^=&?/\s]+)=")
# Of presigned addresses, of fsspec's options, and of what else is called so.
SECRET = re.compile(
    r"secret|passw|signature|credential|^sig$|(^|[-_])token$|(access|account|api)[-_]?key", re.I
)


def secret_in(address: str) -> str | None:
    """What in an address is a secret: "user:password@", or an option's name; None if nothing is.

    A name alone before the @ is no secret of an object store (abfs://container@account), but is a
    token where it is sent over HTTP.
    """
    for scheme, user in USER.findall(address):
        if ":" in user or scheme in ("http", "https", "ftp"):
            return "user:password@"
    return next((name for name in OPTION.findall(address) if SECRET.search(name)), None)


def require_no_secret(address: str, error: type[RaymetricsError]) -> str:
    """The address. The error, which does not repeat it, if it has a secret in it."""
    found = secret_in(address)
    if found:
        start = re.split(r"://|\?", address)[0]
        raise error(
            f"the address {start}... has a secret in it ({found}), and addresses are written "
            "into results; give credentials in the environment (AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY for s3://) or as the machine's role"
        )
    return address
