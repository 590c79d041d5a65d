"""The one exception for input that a user can mend, and how a command ends on it."""

from __future__ import annotations

import sys
from types import TracebackType


class InputError(ValueError):
    """Input that a user gave is wrong: the message is one line that says what, where, and what to do.

    Command lines print the message alone (no traceback) and leave with exit status 2.
    """

    user_can_mend = True


def report_in_one_line() -> None:
    """End this process with the message alone where a user's input was wrong, with the traceback otherwise.

    For programs whose command line is not ours (``python -m monai.bundle run``): an error may reach them wrapped in
    others, so the chain of causes is searched for one whose class says ``user_can_mend``. The exit status is 1.
    """
    sys.excepthook = _excepthook


def user_can_mend(error: BaseException | None) -> BaseException | None:
    """The error in a chain of causes whose class says ``user_can_mend``; None where there is none."""
    while error is not None and not getattr(error, "user_can_mend", False):
        error = error.__cause__ or error.__context__
    return error


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    cause = user_can_mend(error)
    if cause is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        sys.stderr.write(f"error: {cause}\n")
