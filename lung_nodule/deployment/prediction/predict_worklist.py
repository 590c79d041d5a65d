"""Predict a list of CTs, one folder each; finished cases are kept, and a failed case does not stop the others."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.prediction.case import Case, PredictionOptions
from lung_nodule.deployment.prediction.manifest import JSON, is_complete
from lung_nodule.deployment.prediction.predict import predict_case
from lung_nodule.deployment.prediction.worklist import SUMMARY, read_worklist
from lung_nodule.errors import InputError, user_error
from lung_nodule.io import write_table
from lung_nodule.runtime.lock import only_writer
from lung_nodule.runtime.progress_bar import progress

logger = logging.getLogger(__name__)

DONE, SKIPPED, FAILED, NOT_REACHED = "done", "skipped", "failed", "not reached"


@dataclass(frozen=True)
class Outcome:
    """Outcome of a case, a row of ``worklist.csv``.

    Attributes:
        status: done; skipped (finished by an earlier run); failed; not reached (the run was interrupted).
        error: reason of a failure.
        warnings: warnings of the report, such as that the DICOM results could not be written.
    """

    status: str
    error: str = ""
    warnings: str = ""


def predict_worklist(
    *,
    worklist: str | Path,
    out: str | Path,
    url: str,
    model: str | None = None,
    connection: Mapping[str, Any] | None = None,
    options: PredictionOptions | None = None,
) -> int:
    """Predict every case of a worklist into a folder of its name, and write ``worklist.csv``.

    A case is skipped if its folder holds a complete prediction with the same inputs (by hash), model and options.

    Args:
        worklist: path of the list, see :func:`~lung_nodule.deployment.prediction.worklist.read_worklist`.
        out: parent folder of the output folders.
        url: server address, as in :func:`~lung_nodule.deployment.prediction.predict.predict_ct`.
        model: name of the served model.
        connection: further options of the client.
        options: options of every case.

    Returns:
        Number of failed cases.

    Raises:
        InputError: the worklist cannot be run, no server answers, or another run writes to the folder.
    """
    cases, out = read_worklist(worklist, options), Path(out)
    if (out / SUMMARY).exists() and (out / SUMMARY).samefile(worklist):
        raise InputError(f"{worklist} would be overwritten by the results: name another output folder than {out}")
    with NoduleClient(url, model=model, **(connection or {})) as client, only_writer(out):
        client.describe()
        outcomes = dict.fromkeys(cases, Outcome(NOT_REACHED))
        try:
            with progress(len(cases), description="cases", unit="case") as step:
                for name, case in cases.items():
                    outcomes[name] = _outcome(client, name, case, out / name)
                    step()
        finally:
            _summarize(outcomes, out / SUMMARY)
    return sum(outcome.status == FAILED for outcome in outcomes.values())


def _outcome(client: NoduleClient, name: str, case: Case, folder: Path) -> Outcome:
    try:
        if _is_complete(client, case, folder):
            logger.info("%s: skipped, as it is complete", name)
            return Outcome(SKIPPED, warnings=_warnings(folder))
        predict_case(client, case, folder)
    except Exception as error:  # an error in one case must not stop the others
        cause = user_error(error)
        logger.error("%s failed: %s", name, cause or repr(error), exc_info=None if cause else error)
        return Outcome(FAILED, " ".join(str(cause or repr(error)).split()))
    return Outcome(DONE, warnings=_warnings(folder))


def _is_complete(client: NoduleClient, case: Case, folder: Path) -> bool:
    """Whether the folder holds the answers of the models that are served now."""
    if not (folder / JSON).is_file():
        return False
    served, options = client.describe(again=True), case.recorded_options()
    return is_complete(folder, model=served, ct_path=case.ct, nodules_path=case.nodules, options=options)


def _warnings(folder: Path) -> str:
    return " ".join(json.loads((folder / JSON).read_text(encoding="utf-8")).get("warnings", []))


def _summarize(outcomes: Mapping[str, Outcome], path: Path) -> None:
    write_table(path, pd.DataFrame([{"name": name, **asdict(outcome)} for name, outcome in outcomes.items()]))
    counts = Counter(outcome.status for outcome in outcomes.values())
    logger.info("%d cases: %s (%s)", len(outcomes), ", ".join(f"{n} {word}" for word, n in counts.items()), path)
