"""Addresses of data, and the secrets that they must not contain.

The address of a place or a source is stored with the data, printed in errors and copied into
results. Credentials therefore come only from the environment or from the machine's role.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from raymetrics.errors import RaymetricsError

_SCHEME = re.compile(r"(\w+)://")
_PASSWORD = re.compile(r"[^/?#@:]*?(:|%3a).*@", re.I | re.S)  # the password may hold / ? # @
_USER = re.compile(r"[^/?#\s]*@")
_WITHOUT_PASSWORDS = ("github", "git")  # github://organisation:repository@branch
_WEB = ("http", "https", "ftp")  # where a name alone before the @ is a token
_OPTION = re.compile(r"[?&;#]([^=&;?/\s]+)=([^&;?#\s]*)")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")
# Names of secret options: in presigned addresses, in fsspec, and elsewhere; words joined by _.
_SECRET = re.compile(
    r"""
      secret | passw(or)?d | passphrase | credential | authorization | jwt | pwd
    | (access|api|auth|session)?_?token$
    | (^|_)(auth|bearer|sas|sig|signature)$
    | (^|(access|account|api|app|client|encryption|functions?|hmac|license|master|private|project
        |shared|signing|ssh|storage|subscription)_?)key(_id)?$
    | ^((db|login|smtp|user)_?)?pass$
    | ^((access|auth)_?)?code$
    """,
    re.X,
)
# Names of a number of tokens, or of a network's token.
_NO_SECRET = re.compile(
    r"(^|_)(bos|class|cls|count|eos|first|image|last|mask|max|min|n|new|num|pad|patch|register|sep"
    r"|start|stop|text|unk)_?token$"
)
_NO_BUCKET = re.compile(r"(.*::)?(s3a?|gs|gcs|abfss?|az|oci|oss):(?!//[^/])", re.I | re.S)
_NAME = re.compile(r"[\w.:+-]*")


def find_secret(address: str) -> str | None:
    """Find a secret in an address; return "user:password@" or a word such as "token", else None.

    The word comes from the name of an option; the answer never contains a part of the secret. A
    name alone before the @ is not a secret of an object store (abfs://container@account), but it is
    a token in HTTP. Percent-encoded text counts as the text that it encodes. An @ anywhere behind
    host:port may end a password, so a path must write it as %40.
    """
    for scheme in _SCHEME.finditer(address):
        after_scheme, scheme_name = address[scheme.end() :], scheme[1].lower()
        if _PASSWORD.match(after_scheme) and scheme_name not in _WITHOUT_PASSWORDS:
            return "user:password@"
        if _USER.match(after_scheme) and scheme_name in _WEB:
            return "user@"
    for name, value in _OPTION.findall(address):
        word = _secret_word(_percent_decode(name)) or (
            "%" in value and find_secret("?" + unquote(value))
        )
        if word:
            return word
    return None


def require_no_secret(address: str, error: type[RaymetricsError]) -> str:
    """Return the address. Raise `error`, which does not repeat the address, if it has a secret."""
    secret = find_secret(address)
    if secret:
        start = _NAME.match(address.partition("://")[0])
        name = f" {start[0]}..." if start and start[0] else ""
        hint = "; an @ in a path is written %40" if "@" in secret else ""
        raise error(
            f"the address{name} has a secret in it ({secret}), and "
            "addresses are written into results; give credentials in the environment "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for s3://) or as the machine's role"
            f"{hint}"
        )
    return address


def redact_secret(text: str) -> str:
    """Return a text, or a note in its place if it has a secret."""
    secret = find_secret(text)
    return f"(not shown, as it has a secret in it: {secret})" if secret else text


def require_complete_uri(uri: str, error: type[RaymetricsError]) -> str:
    """Return the address. Raise `error` if it names no place.

    s3://$BUCKET, for example, names no place if the variable is empty.
    """
    no_bucket = _NO_BUCKET.match(uri)
    if no_bucket or not uri.strip() or uri.endswith("://"):
        raise error(
            f"{uri!r} names no {'bucket' if no_bucket else 'place'}; expected a path, or an "
            "address such as s3://bucket/prefix (is a variable of the shell empty?)"
        )
    return uri


def _percent_decode(name: str) -> str:
    """Decode a percent-encoded name, however many times it was encoded."""
    while (plain := unquote(name)) != name:
        name = plain
    return name


def _secret_word(option: str) -> str | None:
    """Find the words in an option's name that mark its value as a secret.

    The result consists of words of the pattern only, so it cannot repeat a part of a secret.
    """
    words = "_".join(filter(None, _WORDS.split(option))).lower()
    match = None if _NO_SECRET.search(words) else _SECRET.search(words)
    return match[0].strip("_") if match else None
