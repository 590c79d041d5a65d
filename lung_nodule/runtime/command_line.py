"""Command lines on fire: a command runs only after all arguments are checked; an error is one line."""

from __future__ import annotations

import difflib
import inspect
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import fire
from fire import decorators, helptext
from fire.trace import FireTrace
from lung_nodule.errors import InputError, user_error

logger = logging.getLogger(__name__)

BAD_INPUT, INTERRUPTED = 2, 130
_TEXTS = {"str", "str | None"}
"""Annotations of flags that take text."""


@dataclass(frozen=True)
class Job:
    """Work of a command, run later: fire calls a command before it checks for unknown flags."""

    _action: Callable[[], int]


def run(commands: Mapping[str, Callable[..., Job]], *, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run one of several commands from the command line.

    Args:
        commands: mapping from a name to the function that checks its arguments and returns a Job.
        name: name of the program, in the help.
        arguments: command-line arguments; by default those of the process.

    Returns:
        Exit status: the job's own, 2 for bad input or arguments, 130 after Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if {"--help", "-h"} & set(given):
        sys.stdout.write(help_text(commands, name=name, command=given[0]))
        return 0
    try:
        _require_known(commands, given)
        as_typed = {command: _keep_text(function) for command, function in commands.items()}
        job = fire.Fire(as_typed, command=given, name=name, serialize=lambda _: None)
        if not isinstance(job, Job):
            raise InputError(f"name a command: {' or '.join(commands)} (see --help)")
        return job._action()
    except ValueError as error:
        if user_error(error) is None:
            raise
        logger.error("%s: %s", name, user_error(error))
        return BAD_INPUT
    except OSError as error:
        logger.error("%s: %s: %s", name, error.strerror or error, error.filename or "")
        return BAD_INPUT
    except KeyboardInterrupt:
        logger.error("%s: interrupted; run the same command again (finished scans, trainings and cases are kept)", name)
        return INTERRUPTED


def _keep_text(command: Callable[..., Job]) -> Callable[..., Job]:
    """Have fire pass text as it was typed: as Python literals, ``1.10`` and ``2024_01_05`` would name other folders."""
    texts = [name for name, given in inspect.signature(command).parameters.items() if given.annotation in _TEXTS]
    return decorators.SetParseFns(**dict.fromkeys(texts, _text))(command)


def _text(value: str) -> str | bool | None:
    """A flag's value; fire writes ``True`` for a bare flag and ``False`` for one with ``no`` before its name."""
    return {"None": None, "True": True, "False": False}.get(value, value)


def _require_known(commands: Mapping[str, Callable[..., Job]], given: Sequence[str]) -> None:
    """Refuse an unknown command or flag with the nearest known one.

    Raises:
        InputError: there is one.
    """
    if not given:
        return
    command, *rest = given
    if command not in commands:
        raise InputError(f"there is no command {command!r}{_nearest(command, commands)}: name {' or '.join(commands)}")
    flags = inspect.signature(commands[command]).parameters
    for argument in rest:
        flag = argument.removeprefix("--").partition("=")[0].replace("-", "_")
        if argument.startswith("--") and flag and flag not in flags and flag.removeprefix("no") not in flags:
            raise InputError(f"unknown option --{flag}{_nearest(flag, flags, prefix='--')} (see {command} --help)")


def _nearest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {prefix}{near[0]}?)" if near else ""


def help_text(commands: Mapping[str, Callable[..., Job]], *, name: str, command: str) -> str:
    """Fire's help on one of the commands, or on all if ``command`` is not one of them; types as they are written."""
    every = dict(commands)
    trace = FireTrace(every, name=name)
    if command in every:
        trace.AddAccessedProperty(every[command], command, [command], None, None)
    text = helptext.HelpText(every.get(command, every), trace=trace)
    text = re.sub(r"Optional\['?([^\]']+?)(?: \| None)?'?\]", r"\1", text)
    return re.sub(r"Type: '([^']+)'", r"Type: \1", text) + "\n"


def names(value: object, flag: str) -> list[str] | None:
    """Names from a flag's value, text with commas or a sequence; None stays None.

    Raises:
        InputError: something else than names was given, or nothing.
    """
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise InputError(f"{flag} takes names separated by commas, got {value!r}")
    found = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not found:
        raise InputError(f"{flag} names nothing: give names separated by commas, or leave the flag out")
    return found


def whole_number(value: object, flag: str, *, least: int) -> int:
    """A whole number of at least ``least``, else InputError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{flag} must be a whole number of at least {least}, got {value!r}")
    return value


def positive_number(value: object, flag: str) -> float:
    """A finite number above 0, else InputError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{flag} must be a number above 0, got {value!r}")
    return float(value)


def fraction(value: object, flag: str) -> float:
    """A number from 0 to 1, else InputError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"{flag} must be a number from 0 to 1, got {value!r}")
    return float(value)


def yes_or_no(value: object, flag: str) -> bool:
    """True or False, else InputError."""
    if not isinstance(value, bool):
        raise InputError(f"{flag} must be True or False, got {value!r}")
    return value


def sentence(value: object, flag: str) -> str:
    """A text; True of a bare flag is refused."""
    if isinstance(value, bool):
        raise InputError(f"{flag} needs a text")
    return str(value)


def path_text(value: object, flag: str, *, what: str = "a path") -> str:
    """The text of a path or of another name; True of a bare flag is refused.

    A leading ``~`` is the home folder, as in ``--out=~/data``, where a shell leaves it.
    """
    if isinstance(value, bool) or not str(value).strip():
        raise InputError(f"{flag} needs {what}")
    return os.path.expanduser(str(value))


def output_folder(value: object, flag: str) -> Path:
    """A folder to write to, made later where it is missing; InputError where a file is in its place."""
    folder = Path(path_text(value, flag))
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if there.is_file():
        raise InputError(f"{flag} needs a folder, and {there} is a file: give another path")
    return folder
