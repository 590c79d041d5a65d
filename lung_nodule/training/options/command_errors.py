"""One-line errors of a bundle's command for wrong input."""

from __future__ import annotations

import logging
import sys

from lung_nodule.errors import report_in_one_line, user_error

LOGGERS = (
    "ignite.engine.engine.SupervisedTrainer",
    "ignite.engine.engine.SupervisedEvaluator",
    "monai.handlers.StatsHandler",
)
COMMAND = "monai.bundle.__main__"


def expected_errors_in_one_line() -> None:
    """End ``python -m monai.bundle run`` in one line on wrong input; other errors keep their traceback.

    Engines and handlers log every exception with its traceback before they pass it on; for these they log nothing.
    Another program that runs a bundle (a notebook, a server) stays as it is: it gets the exception itself.
    """
    if getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None) != COMMAND:
        return
    report_in_one_line()
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_unexpected)


def _is_unexpected(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR or user_error(sys.exc_info()[1]) is None
