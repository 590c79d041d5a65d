"""Errors caused by a user's input, and their report by a command; standard library only."""

from __future__ import annotations

import sys
from types import TracebackType


class InputError(ValueError):
    """Input that a user gave is wrong: the message is one line that says what, where, and what to do.

    Command lines print only the message (no traceback) and exit with status 2.
    """


class CheckpointError(InputError):
    """A checkpoint that is missing, unreadable or made for another network."""


class LossOptionError(InputError):
    """An option that a loss does not have."""


class NetworkOptionError(InputError):
    """An option that no network can be built with, or an input that it cannot take."""


def user_error(error: BaseException | None) -> InputError | None:
    """The :class:`InputError` in the chain of an error's causes; None without one."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def report_in_one_line() -> None:
    """End this process with only the message where a user's input was wrong, with the traceback otherwise.

    For programs whose command line is not ours (``python -m monai.bundle run``): an :class:`InputError` may reach them
    wrapped in others, so the chain of causes is searched for it. The exit status is 1.
    """
    sys.excepthook = _excepthook


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    cause = user_error(error)
    if cause is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        sys.stderr.write(f"error: {cause}\n")
