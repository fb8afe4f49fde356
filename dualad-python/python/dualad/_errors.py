"""The exceptions and warnings of this package. All exceptions are subclasses of :class:`DualadError`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualad._detector import Detector


class DualadError(Exception):
    """The base class of all errors of this package."""


class InvalidInputError(DualadError, ValueError):
    """An argument, a setting or a label is wrong, or there are no images. The message names it."""


class ImageError(DualadError, ValueError):
    """An image or a dataset cannot be used, because of its content."""


class ModelError(DualadError, ValueError):
    """A model's folder, a file of weights or a calibration is damaged, of another version, or of another model."""


class NumericError(DualadError, ArithmeticError):
    """Computed values are NaN or infinite, or the training diverged."""


class FileError(DualadError, OSError):
    """A file cannot be read or written, or the hub cannot be reached. ``errno`` and ``filename`` are set where they are known."""

    def __str__(self) -> str:
        # An OSError with a file name would print only the operating system's text.
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        # An OSError of one argument would lose what is set later.
        return (_restored, (type(self), self.args, self.errno, self.strerror, self.filename, dict(self.__dict__)))


def _restored(kind: type[FileError], args: tuple[Any, ...], errno: Any, strerror: Any, filename: Any, state: dict[str, Any]) -> FileError:
    """Return a pickled error."""
    error = kind(*args)
    error.errno, error.strerror, error.filename = errno, strerror, filename
    error.__dict__.update(state)
    return error


class FileMissingError(FileError, FileNotFoundError):
    """A file does not exist."""


class DeviceError(DualadError, RuntimeError):
    """The computation failed, or a thread cannot be started."""


class CancelledError(DualadError):
    """The work was cancelled."""


class ForkError(DualadError, RuntimeError):
    """The process was forked while another thread of its parent was using this package."""


class InternalError(DualadError, RuntimeError):
    """A fault of this package. Please report it."""


class DualadWarning(UserWarning):
    """A notice on a model, such as of a category with few images."""

    #: The finished model, if a run of :meth:`Detector.fit` or :meth:`Detector.extend` raised this.
    detector: Detector | None = None
