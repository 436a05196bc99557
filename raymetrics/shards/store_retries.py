"""Classify the failures of a store: which are transient, and how long to wait before a retry.

The loop that retries is in `raymetrics.shards.store`.

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
from raymetrics.files import FULL_DISK_ERRNOS

PATIENCE_VARIABLE = "RAYMETRICS_PATIENCE_S"
_DEFAULT_SECONDS = 300.0  # for which one operation is tried
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 20.0

# 409: two conditional writes at once, of which S3 wants one to come again.
_TRANSIENT_STATUSES = {408, 409, 425, 429, 500, 502, 503, 504}
_TRANSIENT_CODES = {
    "InternalError", "RequestLimitExceeded", "RequestTimeout", "ServiceUnavailable", "SlowDown",
    "Throttling", "ThrottlingException",
}  # fmt: skip
_TRANSIENT_ERRNOS = {
    errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETDOWN,
    errno.ENETUNREACH,
}  # fmt: skip
# Of botocore, aiohttp, urllib3, requests and google.auth: a connection that was refused, cut or
# too slow; or a role's credentials that could not be fetched this time.
_TRANSIENT_CLASSES = {
    "ChecksumError", "ChunkedEncodingError", "ClientConnectionError", "ClientPayloadError",
    "ConnectionError", "CredentialRetrievalError", "FlexibleChecksumError", "HTTPClientError",
    "IncompleteRead", "IncompleteReadError", "ResponseParserError", "TimeoutError",
    "TransportError", "gaierror",
}  # fmt: skip
# Wrapped in one of those, but tomorrow they are the same.
_PERMANENT_CLASSES = {"SSLError", "SSLCertVerificationError", "ClientSSLError"}


def retry_seconds() -> float:
    """Return for how many seconds an operation is repeated: RAYMETRICS_PATIENCE_S, or 300."""
    text = os.environ.get(PATIENCE_VARIABLE, "")
    try:
        seconds = float(text) if text else _DEFAULT_SECONDS
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise StorageError(
            f"{PATIENCE_VARIABLE} is {text!r}; expected seconds, such as {_DEFAULT_SECONDS:.0f}"
        )
    return seconds


def backoff(seconds: float) -> Iterator[float]:
    """Sleep between attempts, and yield the seconds that have passed, until these are over.

    Each sleep is about twice as long as the one before, and no two workers' sleeps are alike.
    """
    start, pause = time.monotonic(), FIRST_PAUSE
    while True:
        sleep = pause * random.uniform(0.5, 1.5)
        left = seconds - (time.monotonic() - start)
        if left <= 0:
            return
        time.sleep(min(sleep, left))
        yield time.monotonic() - start
        pause = min(2 * pause, LONGEST_PAUSE)


def _error_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status of an error of botocore, aiohttp, gcsfs or Azure's library."""
    for cause in _error_chain(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        for name in ("status", "status_code", "code"):
            value = getattr(cause, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                return value
    return None


def s3_error_code(error: BaseException) -> str | None:
    """Return the code of an error of S3, such as "SlowDown"."""
    for cause in _error_chain(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return response.get("Error", {}).get("Code")
    return None


def _error_class_names(error: BaseException) -> set[str]:
    """Return the names of all classes of the error and of its causes."""
    return {kind.__name__ for cause in _error_chain(error) for kind in type(cause).__mro__}


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed later."""
    names = _error_class_names(error)
    if names & _PERMANENT_CLASSES or _is_unknown_host(error):
        return False
    if (status_code := http_status(error)) is not None:
        return status_code in _TRANSIENT_STATUSES or s3_error_code(error) in _TRANSIENT_CODES
    errnos = {getattr(cause, "errno", None) for cause in _error_chain(error)}
    return bool(names & _TRANSIENT_CLASSES or errnos & _TRANSIENT_ERRNOS)


def is_full(error: BaseException) -> bool:
    """Return whether an error says that there is no room for more."""
    errnos = {getattr(cause, "errno", None) for cause in _error_chain(error)}
    return bool(errnos & FULL_DISK_ERRNOS) or http_status(error) == 507


def _is_unknown_host(error: BaseException) -> bool:
    """Return whether the name of the endpoint's host has no address.

    A name server that does not answer is another error, which passes.
    """
    return any(
        isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME
        for cause in _error_chain(error)
    )


def reason(error: BaseException) -> str:
    """Return the words of the store, in short."""
    message = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    status_code = http_status(error)
    return f"{status_code} {message}" if status_code else message


def advice(error: BaseException) -> str:
    """Say what to do about an error that is not transient."""
    if any("Credentials" in name for name in _error_class_names(error)):
        return (
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what else the store wants, in the "
            "environment of every machine, or give the machines a role"
        )
    if s3_error_code(error) == "NoSuchBucket":
        return "there is no such bucket: create it first"
    if _is_unknown_host(error):
        return "there is no such host: see AWS_ENDPOINT_URL"
    if http_status(error) in (401, 403):
        return "the credentials in the environment do not allow it"
    return "expected a place that can be read and written"
