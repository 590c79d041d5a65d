"""Check bundles with the Model Zoo's checks and those of this project: python ci/verify_bundles.py [NAME...]."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fire

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's library, whatever is installed

from ci.bundle_tools.archive import bundles_named  # noqa: E402
from ci.bundle_tools.painted_dataset import write_dataset  # noqa: E402
from ci.bundle_tools.verification import Verdict, verify_bundle  # noqa: E402
from lung_nodule.errors import report_in_one_line  # noqa: E402


def verify(*names: str, bundles: str = str(ROOT / "bundles")) -> None:
    """Print one line per check; the exit status is 1 where a check fails.

    Args:
        names: bundle names; all bundles by default.
        bundles: folder of the bundles.
    """
    logging.disable(logging.WARNING)
    verdicts = list(_reported(bundles_named(Path(bundles).resolve(), names)))
    failed = sum(verdict.problem is not None for verdict in verdicts)
    print(f"{len(verdicts)} checks, {failed} failed")
    sys.exit(1 if failed else 0)


def _reported(bundles: list[Path]) -> Iterator[Verdict]:
    with tempfile.TemporaryDirectory() as scratch:
        dataset = write_dataset(Path(scratch) / "painted", patients=5)
        for bundle in bundles:
            for verdict in verify_bundle(bundle, dataset=dataset, output=Path(scratch) / bundle.name):
                print(verdict.line(), flush=True)
                yield verdict


if __name__ == "__main__":
    report_in_one_line()
    fire.Fire(verify)
