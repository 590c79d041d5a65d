"""Run in place of ``-m monai.bundle run``: writes a cell's files, slowly, wrongly or never, as its options say."""

from __future__ import annotations

import ast
import json
import sys
import time
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Count the call, then do what the training's option ``behave`` says."""
    given = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    folder = Path(given["--output_dir"])
    with (folder / "calls.txt").open("a") as calls:
        calls.write(f"{arguments[0]} {given.get('--split', '')}\n")
    if arguments[0] == "evaluating":
        results = Path(given["--results_dir"])
        results.mkdir(exist_ok=True)
        (results / "predictions.csv").write_text("nodule_id,malignancy_prob\n")
        return 0
    (folder / "checkpoint").write_text("half way")
    last, fold = Path(ast.literal_eval(given["--config_file"])[-1]), given["--fold"]
    behave = json.loads(last.read_text())["behave"] if last.name == "options.json" else None
    if behave == f"fail {fold}":
        print("Traceback (most recent call last):\nerror: no such scanner: choose another", flush=True)
        print("a last line that says nothing", flush=True)
        return 1
    if behave == f"hang {fold}":
        time.sleep(600)
    (folder / "model.pt").write_text("weights")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
