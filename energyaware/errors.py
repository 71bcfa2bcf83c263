"""Every error a user can meet: a cause and a remedy in one line, shown without a traceback."""

from __future__ import annotations


class EnergyAwareError(Exception):
    """Base of all errors of this package.

    Args:
        cause: what is wrong, with the offending value in it.
        remedy: what the user can do about it.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause = cause
        self.remedy = remedy
        super().__init__(f"{cause.rstrip('.')}. {remedy}")

    def __reduce__(self) -> tuple[type[EnergyAwareError], tuple[str, str]]:
        # Exception pickles only `args`, which here is the joined text.
        return type(self), (self.cause, self.remedy)


class OptionError(EnergyAwareError):
    """A command-line option, ini value or marker that says nothing we know."""


class MeterError(EnergyAwareError):
    """A meter that cannot be opened, or that stopped answering."""


class StoredRunError(EnergyAwareError):
    """A stored run that is missing, damaged, of another schema or of another tool."""


class DataError(EnergyAwareError):
    """A dataset that cannot be read, or lacks what the task needs."""


class ModelError(EnergyAwareError):
    """A model that is unknown, cannot be loaded or cannot be trained."""


class CompressionError(EnergyAwareError):
    """A compression that is unknown, impossible for this model, or changed nothing."""


class CacheError(EnergyAwareError):
    """A cache or report folder that cannot be written."""


class TaskError(EnergyAwareError):
    """A task that does not fit the model or the data."""


class KnobError(EnergyAwareError):
    """A clock or power cap that must not be changed, was not taken, or could not be put back."""


class KnobUnavailableError(KnobError):
    """A clock or power cap that this machine or this user cannot set: benchmarks are skipped."""


class RevisionError(EnergyAwareError):
    """A revision that is unknown, cannot be checked out, or whose code would not be the code that runs."""


class ChannelClosedError(EnergyAwareError):
    """The process at the other end is gone."""


class MessageTooLargeError(EnergyAwareError):
    """More than the other end would read."""


class WorkerError(EnergyAwareError):
    """A side's process ended before its time, or cannot measure."""


class IsolatedError(EnergyAwareError):
    """A benchmark failed, or its process ended, in a process of its own."""


class ClusterError(EnergyAwareError):
    """A cluster that cannot be reached, or on which nothing can be measured."""
