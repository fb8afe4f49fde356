"""The exceptions and warnings of this package. All exceptions are subclasses of :class:`DualadError`."""

from __future__ import annotations


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
