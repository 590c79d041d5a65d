"""The configuration whose expression is being evaluated.

MONAI hands an expression no reference to the configuration that it belongs to. It is the one whose parser evaluates the
call: on the command line, with several files and from Python alike.
"""

from __future__ import annotations

import inspect

from monai.bundle import ConfigParser, ConfigWorkflow


def calling_parser() -> tuple[ConfigParser | None, ConfigWorkflow | None]:
    """The innermost parser on the call stack, and its workflow.

    Returns:
        None and None where no configuration is being evaluated; no workflow for a parser of its own.
    """
    parser: ConfigParser | None = None
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if parser is None and isinstance(owner, ConfigParser):
            parser = owner
        if parser is not None and isinstance(owner, ConfigWorkflow) and owner.parser is parser:
            return parser, owner
        frame = frame.f_back
    return parser, None
