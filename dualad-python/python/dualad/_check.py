"""Checks of arguments: a value of a wrong type is a TypeError, one out of its range an InvalidInputError. Both name the argument."""

from __future__ import annotations

import json
import math
import numbers
import operator
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from dualad._errors import InvalidInputError

#: The largest value of 64 bits, and of 32.
U64 = (1 << 64) - 1
U32 = (1 << 32) - 1


def _wrong(name: str, value: object, give: str) -> TypeError:
    return TypeError(f"{name} is {type(value).__name__}; give {give}")


def path(value: Any, name: str) -> str:
    """Return a path as text."""
    found = os.fspath(value) if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(found, str):
        raise _wrong(name, value, "a path as str or pathlib.Path")
    if not found or "\0" in found:
        raise InvalidInputError(f"{name} is {found!r}; give a path of one or more characters, none of them NUL")
    return found


def unicode_path_or_none(value: Any, name: str) -> str | None:
    """Return a path of Unicode text, or None."""
    return None if value is None else _unicode(path(value, name), name)


def _unicode(found: str, name: str) -> str:
    try:
        found.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{name} is {found!r}, which is no Unicode text; give another one") from None
    return found


def text(value: Any, name: str) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise _wrong(name, value, "a str")
    return _unicode(value, name)


def text_or_none(value: Any, name: str) -> str | None:
    """Return a text, or None."""
    return None if value is None else text(value, name)


def flag(value: Any, name: str) -> bool:
    """Return True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise _wrong(name, value, "True or False")
    return bool(value)


def whole(value: Any, name: str, low: int, high: int) -> int:
    """Return a whole number of any integer type, from ``low`` to ``high``."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise _wrong(name, value, "a whole number")
    try:
        found = operator.index(value)
    except TypeError:
        raise _wrong(name, value, "a whole number") from None
    if not low <= found <= high:
        ends = {U64: "2^64 - 1", U32: "2^32 - 1"}
        shown = found if abs(found) < 10**40 else "a number of more than 40 digits"
        raise InvalidInputError(f"{name} is {shown}; give a whole number from {low} to {ends.get(high, high)}")
    return found


def whole_or_none(value: Any, name: str, low: int, high: int) -> int | None:
    """Return a whole number from ``low`` to ``high``, or None."""
    return None if value is None else whole(value, name, low, high)


def number(value: Any, name: str, low: float = -math.inf, high: float = math.inf, *, above: bool = False, below: bool = False) -> float:
    """Return a finite number from ``low`` to ``high``, or ``above`` the one and ``below`` the other."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise _wrong(name, value, "a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    inside = (low < found if above else low <= found) and (found < high if below else found <= high)
    if not (math.isfinite(found) and inside):
        allowed = "a finite number"
        if math.isfinite(low) and math.isfinite(high):
            allowed = f"a number {'above' if above else 'from'} {low:g} {'and below' if above and below else 'to below' if below else 'to'} {high:g}"
        raise InvalidInputError(f"{name} is {value if len(str(value)) < 40 else found}; give {allowed}")
    return found


def number_or_none(value: Any, name: str, low: float, high: float, *, below: bool = False) -> float | None:
    """Return a number from ``low`` to ``high``, or None."""
    return None if value is None else number(value, name, low, high, below=below)


def mapping(value: Any, name: str) -> dict[str, Any] | None:
    """Return a dict of values that JSON has, or None. Numbers and arrays of numpy become Python's."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _wrong(name, value, 'a dict, such as {"train": {"batch_size": 4}}')
    found = _plain(value, name)
    try:
        json.dumps(found, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{name} cannot be written as JSON: {error}; give finite numbers, texts, lists and dicts") from None
    assert isinstance(found, dict)
    return found


def _plain(value: Any, name: str, depth: int = 0) -> Any:
    """Return a value with dicts, lists and numbers of Python alone."""
    if depth > 100:
        raise InvalidInputError(f"{name.split('[')[0]} is nested too deeply")
    if isinstance(value, Mapping):
        for key in value:
            text(key, f"a key of {name}")
        return {key: _plain(inner, f"{name}[{key!r}]", depth + 1) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), name, depth + 1)
    if isinstance(value, (list, tuple)):
        return [_plain(inner, f"{name}[{place}]", depth + 1) for place, inner in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return _unicode(value, name)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise _wrong(name, value, "a number, a str, a bool, None, a list or a dict")
