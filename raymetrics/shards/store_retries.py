"""Which failures of a store may pass, how long to wait for that, and what to do about the others.

The libraries below have no common errors. What they share is looked at: HTTP's status, errno, the
codes of S3, and the names of classes; so that none of them has to be imported here.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import time
from collections.abc import Iterator

from raymetrics.errors import StorageError
from raymetrics.files import NO_ROOM

VARIABLE = "RAYMETRICS_PATIENCE_S"
SECONDS = 300.0  # for which one operation is tried
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 20.0

# 409: two conditional writes at once, of which S3 wants one to come again.
STATUSES = {408, 409, 425, 429, 500, 502, 503, 504}
CODES = {
    "InternalError", "RequestLimitExceeded", "RequestTimeout", "ServiceUnavailable", "SlowDown",
    "Throttling", "ThrottlingException",
}  # fmt: skip
ERRNOS = {
    errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETDOWN,
    errno.ENETUNREACH,
}  # fmt: skip
# Of botocore, aiohttp, urllib3, requests and google.auth: a connection that was refused, cut or
# too slow; or a role's credentials that could not be fetched this time.
CLASSES = {
    "ChecksumError", "ChunkedEncodingError", "ClientConnectionError", "ClientPayloadError",
    "ConnectionError", "CredentialRetrievalError", "FlexibleChecksumError", "HTTPClientError",
    "IncompleteRead", "IncompleteReadError", "ResponseParserError", "TimeoutError",
    "TransportError", "gaierror",
}  # fmt: skip
# Wrapped in one of those, but tomorrow they are the same.
FINAL = {"SSLError", "SSLCertVerificationError", "ClientSSLError"}


def patience() -> float:
    """For how many seconds one operation is tried: RAYMETRICS_PATIENCE_S, or 300."""
    text = os.environ.get(VARIABLE, "")
    try:
        seconds = float(text) if text else SECONDS
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise StorageError(f"{VARIABLE} is {text!r}; expected seconds, such as {SECONDS:.0f}")
    return seconds


def pauses(seconds: float) -> Iterator[float]:
    """Sleeps between attempts, each about twice as long as the one before and no two workers'
    alike, until so many seconds are over; gives how long it has been."""
    start, pause = time.monotonic(), FIRST_PAUSE
    while True:
        sleep = pause * random.uniform(0.5, 1.5)
        left = seconds - (time.monotonic() - start)
        if left <= 0:
            return
        time.sleep(min(sleep, left))
        yield time.monotonic() - start
        pause = min(2 * pause, LONGEST_PAUSE)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def status(error: BaseException) -> int | None:
    """HTTP's status, as botocore, aiohttp, gcsfs or Azure's library keep it."""
    for cause in causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        for name in ("status", "status_code", "code"):
            found = getattr(cause, name, None)
            if isinstance(found, int) and 400 <= found < 600:
                return found
    return None


def code(error: BaseException) -> str | None:
    """S3's word for what is wrong, such as "SlowDown"."""
    for cause in causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return response.get("Error", {}).get("Code")
    return None


def classes(error: BaseException) -> set[str]:
    """The names of all classes that the error, or what it came from, belongs to."""
    return {kind.__name__ for cause in causes(error) for kind in type(cause).__mro__}


def may_pass(error: BaseException) -> bool:
    """Whether the same request may well succeed later."""
    names = classes(error)
    if names & FINAL or is_unknown_host(error):
        return False
    if (found := status(error)) is not None:
        return found in STATUSES or code(error) in CODES
    errnos = {getattr(cause, "errno", None) for cause in causes(error)}
    return bool(names & CLASSES or errnos & ERRNOS)


def is_full(error: BaseException) -> bool:
    """Whether there is no room for more."""
    errnos = {getattr(cause, "errno", None) for cause in causes(error)}
    return bool(errnos & NO_ROOM) or status(error) == 507


def is_unknown_host(error: BaseException) -> bool:
    """Whether the name of the endpoint's host has no address. (A name server that does not answer
    is another error, which passes.)"""
    return any(
        isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME
        for cause in causes(error)
    )


def reason(error: BaseException) -> str:
    """What the store said, in short."""
    said = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    found = status(error)
    return f"{found} {said}" if found else said


def advice(error: BaseException) -> str:
    """What to do about an error that does not pass."""
    if any("Credentials" in name for name in classes(error)):
        return (
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what else the store wants, in the "
            "environment of every machine, or give the machines a role"
        )
    if code(error) == "NoSuchBucket":
        return "there is no such bucket: create it first"
    if is_unknown_host(error):
        return "there is no such host: see AWS_ENDPOINT_URL"
    if status(error) in (401, 403):
        return "the credentials in the environment do not allow it"
    return "expected a place that can be read and written"
