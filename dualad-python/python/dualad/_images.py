"""Images of any kind, as those that the native half takes: paths, the bytes of files, and arrays of uint8."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from dualad import _check
from dualad._errors import ImageError
from dualad._types import Image as Prepared

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage



class SupportsArray(Protocol):
    """An object that numpy can make an array of, such as a tensor of another library."""

    def __array__(self) -> npt.NDArray[Any]: ...


#: An image: the path of a file, the bytes of a file, a PIL image, or an array of uint8.
ImageLike: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, "PilImage", npt.NDArray[np.uint8], SupportsArray
]

#: Images of one product, or of several by their names.
Images: TypeAlias = Union[Sequence[ImageLike], Mapping[str, Sequence[ImageLike]]]

#: The tag of the orientation in EXIF data.
_ORIENTATION = 0x0112


def prepare(image: ImageLike) -> Prepared:
    """Return an image for the native half. Contiguous arrays are not copied."""
    if isinstance(image, (str, os.PathLike)):
        return os.fsdecode(image)
    if isinstance(image, bytes):
        return image
    if isinstance(image, (bytearray, memoryview)):
        if isinstance(image, memoryview) and image.ndim > 1:
            raise ImageError(f"a memoryview has shape {image.shape}, and bytes are the content of a file; give the array itself")
        return bytes(image)
    if isinstance(image, np.ndarray):
        if np.ma.is_masked(image):
            raise ImageError("the array is masked, and a mask has no effect; give all pixels, such as array.filled(0)")
        return _array(np.asarray(image))
    pil = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(image, pil.Image):
        return _array(_pil(image))
    if hasattr(image, "__array__") or hasattr(image, "__array_interface__"):
        return _array(np.asarray(image))
    raise TypeError(
        f"an image is {type(image).__name__}; give a path, the bytes of a file, a PIL image, or a numpy array of uint8"
    )


def listed(images: Iterable[ImageLike], argument: str) -> list[ImageLike]:
    """Return images as a list. One image is refused: its rows or its characters would pass for images."""
    one = isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview))
    # A tensor of another library is an array, too; a column of paths is a list.
    given: Any = images
    dimensions = np.ndim(given) if hasattr(given, "__array__") else 1
    is_array = dimensions in (2, 3) or (isinstance(images, np.ndarray) and dimensions != 4)
    if one or is_array:
        shape = f" of shape {np.shape(given)}" if is_array else ""
        raise TypeError(
            f"{argument} is one {type(images).__name__}{shape}; give a list of images, "
            "or an array of shape (images, height, width, 3)"
        )
    if not isinstance(images, Iterable):
        raise TypeError(f"{argument} is {type(images).__name__}; give a list of images")
    return list(images)


def by_category(images: Images, argument: str, category: str | None = None) -> list[tuple[str | None, Prepared]]:
    """Return images with their categories."""
    if isinstance(images, Mapping):
        pairs: list[tuple[str | None, Prepared]] = []
        for name, some in images.items():
            if not isinstance(name, str):
                raise TypeError(f"a category of {argument} is {name!r}; its name must be a str")
            _check.text(name, f"a category of {argument}")
            pairs += [(name, prepare(image)) for image in listed(some, f"{argument}[{name!r}]")]
        return pairs
    return [(category, prepare(image)) for image in listed(images, argument)]


def _array(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Check an array, and return it as ``[height, width]`` or ``[height, width, 3]``."""
    if array.dtype != np.uint8:
        hint = ""
        if array.dtype == np.bool_:
            hint = ", such as array.astype(numpy.uint8) * 255"
        elif array.dtype.kind == "f":
            hint = ", such as (array * 255).round().astype(numpy.uint8) for values from 0 to 1"
        raise ImageError(f"the array has dtype {array.dtype}; give uint8, with values from 0 to 255{hint}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        hint = ""
        if array.ndim == 3 and array.shape[2] == 4:
            hint = "; to drop the fourth channel: array[:, :, :3]"
        elif array.ndim == 3 and array.shape[0] in (1, 3):
            hint = "; to move the channels to the end: array.transpose(1, 2, 0)"
        elif array.ndim == 4:
            hint = "; for several images use inspect_batch"
        raise ImageError(f"the array has shape {array.shape}; give (height, width) or (height, width, 3){hint}")
    if array.size == 0 or max(array.shape) >= 1 << 32:
        raise ImageError(f"the array has shape {array.shape}; width and height must be from 1 to 2^32 - 1")
    return array


def _pil(image: PilImage) -> npt.NDArray[Any]:
    """Return the pixels of a PIL image, upright, as if its file were read: without alpha, with 8 bits."""
    try:
        if image.getexif().get(_ORIENTATION, 1) != 1:
            from PIL import ImageOps

            image = ImageOps.exif_transpose(image)
        if image.mode in ("L", "RGB"):
            return np.asarray(image)
        if image.mode.startswith("I"):
            values = np.asarray(image)
            if image.mode == "I" and values.size and values.max() <= 0xFF:
                raise ImageError("the image has PIL's mode I, of which 65535 is white, and no value above 255; convert it to L")
            return _sixteen_bits(values)
        if image.mode == "F":
            raise ImageError("the image has PIL's mode F, whose range is unknown; scale it to 0 to 255 and convert it to L")
        return np.asarray(image.convert("L" if image.mode in ("1", "LA", "La") else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"the PIL image cannot be read: {error}") from error


def _sixteen_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return 16-bit values rounded to 8 bits."""
    if values.size and (values.min() < 0 or values.max() > 0xFFFF):
        raise ImageError("the image has PIL's mode I, and values outside of 0 to 65535; scale it and convert it to L")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
