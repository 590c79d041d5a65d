"""Kinds of options: the allowed values and their description."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

import torch
from lung_nodule.errors import InputError

LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Kind:
    """Allowed values of an option.

    Args:
        allowed: allowed values in words, after "must be".
        accepts: function that tells whether a value is allowed; may raise a more specific InputError.
    """

    allowed: str
    accepts: Callable[[object], bool]

    def check(self, name: str, value: object) -> None:
        """Raise an InputError that names the option, unless it takes the value."""
        if not self.accepts(value):
            raise InputError(f"--{name} must be {self.allowed}, got {value!r}")

    def or_none(self) -> Kind:
        """The same kind, which also takes None: the option is not used."""
        return Kind(f"{self.allowed}, or None", lambda value: value is None or self.accepts(value))

    def or_(self, word: str) -> Kind:
        """The same kind, which also takes a word."""
        return Kind(f"{self.allowed}, or {word}", lambda value: value == word or self.accepts(value))


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole(*, least: int = 1, most: int | None = None, multiple_of: int = 1) -> Kind:
    """Options that are a count."""
    multiple = f", a multiple of {multiple_of}," if multiple_of > 1 else ""
    bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"

    def accepts(value: object) -> bool:
        return is_whole(value) and least <= value <= (value if most is None else most) and value % multiple_of == 0

    return Kind(f"a whole number{multiple} {bounds}", accepts)


def number(*, least: float = 0.0, most: float = math.inf) -> Kind:
    """Options that are a weight or a bound."""
    bounds = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of at least {least:g}"
    return Kind(f"a number {bounds}", lambda value: is_number(value) and least <= value <= most)


def one_of(*choices: object) -> Kind:
    """Options that are one of several choices; a number is not accepted for True or False."""
    said = " or ".join(map(str, choices)) if len(choices) < 3 else f"one of {', '.join(map(str, choices))}"
    return Kind(said, lambda value: any(value == choice and type(value) is type(choice) for choice in choices))


def checked_by(check: Callable[[Any], object], allowed: str) -> Kind:
    """Options whose reader refuses a wrong value itself, with an InputError."""

    def accepts(value: object) -> bool:
        check(value)
        return True

    return Kind(allowed, accepts)


POSITIVE = Kind("a number above 0", lambda value: is_number(value) and value > 0)
SHARE = number(most=1.0)
INNER_SHARE = Kind("a number above 0 and below 1", lambda value: is_number(value) and 0 < value < 1)
FLAG = one_of(True, False)
PATH = Kind("a path", lambda value: isinstance(value, Path) or (isinstance(value, str) and bool(value.strip())))
FILE = Kind("an existing file", lambda value: PATH.accepts(value) and Path(str(value)).is_file())
TEXT = Kind("text", lambda value: isinstance(value, str))
NAMES = Kind("a list of names", lambda value: isinstance(value, list | tuple) and all(map(TEXT.accepts, value)))
PATIENT = Kind("a patient's name", lambda value: is_whole(value) or (TEXT.accepts(value) and bool(str(value).strip())))


def fold_of(count: int) -> Kind:
    """One of the numbered folds: five of LIDC-IDRI, ten of LUNA16's candidates."""
    return Kind(f"a fold from 0 to {count - 1}", lambda value: is_whole(value) and value in range(count))


def evaluated_fold_of(count: int) -> Kind:
    """Folds to evaluate: a numbered fold, or the hold-out."""
    return fold_of(count).or_("holdout")


def folds(of: Kind) -> Kind:
    """Options that name one fold or several."""

    def accepts(value: object) -> bool:
        several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return bool(several) and all(map(of.accepts, several))

    return Kind(f"{of.allowed}, or a list of such", accepts)


def subset_of(*known: str) -> Kind:
    """Options that are a list of known names, which may be empty."""

    def accepts(value: object) -> bool:
        return isinstance(value, list | tuple) and all(name in known for name in value)

    return Kind(f"a list of some of {', '.join(known)}", accepts)


def nonempty_subset_of(*known: str) -> Kind:
    """Options that are a non-empty list of known names."""

    def accepts(value: object) -> bool:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        return bool(value) and all(name in known for name in value)

    return Kind(f"a non-empty list of {', '.join(known)}", accepts)


def _device_is_there(value: object) -> bool:
    try:
        device = torch.device(cast(Any, value))
    except (RuntimeError, TypeError, ValueError):
        return False
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        advice = f"0 to {found - 1}" if found else "run with --device cpu"
        raise InputError(f"--device {value} names a GPU that is not there ({found} found): {advice}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"--device {value} is not available on this machine: run with --device cpu")
    return device.type in ("cpu", "cuda", "mps")


DEVICE = Kind("a device such as cpu, cuda or cuda:0", _device_is_there)
