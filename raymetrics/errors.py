"""The errors that a request can cause, as a tree.

    RaymetricsError
    ├── SourceError        unknown source, or a source that breaks its contract
    ├── ExtractorError     unknown extractor, wrong weights, or features that are not finite
    ├── SampleRangeError   invalid sample ids, or ids that the source does not have
    ├── StorageError       a URI that cannot be read or written
    │   └── StorageUnavailable  a store that may answer later
    ├── TemporaryFailure   the request is valid: run the same command again to resume
    │   ├── StorageUnavailable  (also a StorageError)
    │   └── ClusterFailure      Ray did not start, or lost what it needs
    ├── UnsafePickle       a pickle that would have to be executed to be read
    ├── ProgramRefused     a file names a program, or another machine, without permission
    ├── ShardError         a shard set that is incomplete, damaged, or of another kind
    │   └── SpecMismatch   a shard set with another specification than the requested one
    ├── NotEnoughData      fewer samples than a number needs
    ├── InsufficientResources  too large for memory, disk or GPUs; found before running
    └── ResultsFileError   a results file that cannot be used

Every message says on one line what was found, what was expected, where, and what to do about it;
control characters in foreign names are escaped. The command line prints the message and exits with
2, or with 75 for a TemporaryFailure. Any other exception is a bug.
"""

from raymetrics.printable import escape_unprintable


class RaymetricsError(Exception):
    """The base of all errors that the request causes, not the program."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # Stored apart from `args`, because Ray Data appends advice of its own to them.
        self.message = escape_unprintable(" ".join(message.split()))

    def __str__(self) -> str:
        return self.message


class SourceError(RaymetricsError):
    """An unknown source, or a source that breaks its contract."""


class ExtractorError(RaymetricsError):
    """An unknown extractor, wrong weights, or features that are not finite numbers."""


class SampleRangeError(RaymetricsError):
    """Invalid sample ids, or ids that the source does not have."""


class StorageError(RaymetricsError):
    """A URI that cannot be read or written."""


class TemporaryFailure(RaymetricsError):
    """A failure of a valid request: finished work stays; run the same command again to resume."""


class StorageUnavailable(StorageError, TemporaryFailure):
    """A store that does not answer, reports that it is overloaded, or is full."""


class ClusterFailure(TemporaryFailure):
    """Ray did not start, or lost what the work needs."""


class UnsafePickle(RaymetricsError):
    """A pickle that would have to be executed to be read."""


class ProgramRefused(RaymetricsError):
    """A file names a program, or something on another machine, without the user's permission."""


class ShardError(RaymetricsError):
    """A shard set that is incomplete, damaged, or of another kind."""


class SpecMismatch(ShardError):
    """A shard set with another specification than the requested one."""


class NotEnoughData(RaymetricsError):
    """Fewer samples than a number needs."""


class InsufficientResources(RaymetricsError):
    """A request that exceeds memory, disk or GPUs."""


class ResultsFileError(RaymetricsError):
    """A results file that cannot be used."""
