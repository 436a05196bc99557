"""What can go wrong because of what was asked, as a tree.

    RaymetricsError
    ├── SourceError        no such source, or a source that breaks its contract
    ├── ExtractorError     no such extractor, its weights are not what they should be,
    │                      or its features are not finite numbers
    ├── MetricError        a metric of the user's own that cannot be loaded, or breaks its contract
    ├── RangeError         sample ids that make no sense, or that the source does not have
    ├── StorageError       a URI that cannot be read or written
    │   └── StorageUnavailable  one that could be before, and may be again
    ├── TemporaryFailure   nothing is wrong with the request: the same command goes on
    │   ├── StorageUnavailable  (also a StorageError)
    │   └── ClusterFailure      Ray did not start, or lost what it needs
    ├── UnsafePickle       a pickle that would have to be executed to be read
    ├── ProgramRefused     a file names a program, or another machine, without permission
    ├── ShardError         a shard set that is incomplete, damaged, or of another kind
    │   └── SpecMismatch   a shard set made from something else than what is asked for
    ├── NotEnoughData      fewer samples than a number needs
    ├── PlanTooLarge       would not fit into memory; found before running
    └── ResultError        a results file that cannot be used

Every message says what was found, what was expected, where, and what to do about it, on one
line, with control characters of foreign names escaped. The command line prints it and exits with 2,
or with 75 for a TemporaryFailure. Anything else that is raised is a bug.
"""

from raymetrics.printable import escape_unprintable


class RaymetricsError(Exception):
    """The base of all errors that are about the request, not about the program."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # Kept apart from `args`, to which Ray Data appends advice of its own on the way.
        self.message = escape_unprintable(" ".join(message.split()))

    def __str__(self) -> str:
        return self.message


class SourceError(RaymetricsError):
    """No such source, or a source that breaks its contract."""


class ExtractorError(RaymetricsError):
    """No such extractor, wrong weights, or features that are not finite numbers."""


class MetricError(RaymetricsError):
    """A metric of the user's own that cannot be loaded, or that breaks its contract."""


class SampleRangeError(RaymetricsError):
    """Sample ids that make no sense, or that the source does not have."""


class StorageError(RaymetricsError):
    """A URI that cannot be read or written."""


class TemporaryFailure(RaymetricsError):
    """Nothing is wrong with the request: what is made stays, and the same command goes on."""


class StorageUnavailable(StorageError, TemporaryFailure):
    """A store that does not answer, answers that it is overloaded, or is full."""


class ClusterFailure(TemporaryFailure):
    """Ray did not start, or lost what the work needs."""


class UnsafePickle(RaymetricsError):
    """A pickle that would have to be executed to be read."""


class ProgramRefused(RaymetricsError):
    """A file names a program, or something on another machine, that nobody has allowed it."""


class ShardError(RaymetricsError):
    """A shard set that is incomplete, damaged, or of another kind."""


class SpecMismatch(ShardError):
    """A shard set made from something else than what is asked for."""


class NotEnoughData(RaymetricsError):
    """Fewer samples than a number needs."""


class InsufficientResources(RaymetricsError):
    """Would not fit into memory."""


class ResultsFileError(RaymetricsError):
    """A results file that cannot be used."""
