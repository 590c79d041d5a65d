"""Run a bundle as a guest in a process with a pipeline of its own: guest.py BUNDLE_ROOT DATASET OUTPUT OPTIONS.

Prints one line per step that changed the state of the process, and "checked N steps" at the end.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai
import numpy as np
import pandas as pd
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor, get_track_meta
from monai.handlers import StatsHandler
from monai.transforms import Compose, Flipd, Spacingd

HOST = Compose([Flipd("ct", spatial_axis=0), Spacingd("ct", pixdim=(2.0, 2.0, 2.0))])
"""What the host does: its result has an affine only as long as metadata are tracked."""


def host_works() -> bool:
    """Whether the host's pipeline keeps its affine."""
    affine = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    found = HOST({"ct": MetaTensor(torch.rand(1, 8, 8, 8), affine=affine)})["ct"]
    return isinstance(found, MetaTensor) and torch.allclose(
        found.affine.diagonal()[1:3].abs(), torch.tensor(2.0).double()
    )


def state() -> dict[str, Any]:
    """Everything of this process that a bundle could change for others."""
    loggers = {name: logging.getLogger(name) for name in LOGGERS}
    return {
        "metadata are tracked": get_track_meta(),
        "sys.excepthook": sys.excepthook,
        "threading.excepthook": threading.excepthook,
        "sys.path": list(sys.path),
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "signals": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        "working directory": os.getcwd(),
        "log handlers": {name: list(logger.handlers) for name, logger in loggers.items()},
        "log filters": {name: list(logger.filters) for name, logger in loggers.items()},
        "log levels": {name: (logger.level, logger.disabled) for name, logger in loggers.items()},
        "logging disabled": logging.root.manager.disable,
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "cuDNN": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark, torch.backends.cudnn.enabled),
        "MONAI's seed": monai.utils.misc.get_seed(),
        "random numbers": (random.getstate(), tuple(np.random.get_state()[1].tolist())),
        "threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "display": (np.get_printoptions(), pd.get_option("display.max_rows")),
    }


LOGGERS = [
    None, "monai", "ignite", "ignite.engine.engine.SupervisedTrainer", "ignite.engine.engine.SupervisedEvaluator",
    "monai.handlers.StatsHandler", "monai.bundle.workflows", "torch", "py.warnings",
]  # fmt: skip
STEPS: list[str] = []


def difference(before: Any, after: Any) -> str:
    if isinstance(before, dict):
        before, after = (set(map(str, found.items())) for found in (before, after))
        before, after = before - after, after - before
    return f"{str(before)[:300]} -> {str(after)[:300]}"


def compare(step: str, before: dict[str, Any]) -> None:
    after = state()
    STEPS.append(step)
    for name, value in before.items():
        if str(after[name]) != str(value):
            print(f"CHANGED after {step}: {name}: {difference(value, after[name])}")
    if not host_works():
        print(f"CHANGED after {step}: the host's affines are gone")


def workflow(root: Path, config: str, kind: str, options: dict[str, Any]) -> ConfigWorkflow:
    made = ConfigWorkflow(
        workflow_type=kind, config_file=str(root / "configs" / f"{config}.json"), logging_file=False, **options
    )
    made.initialize()
    return made


def probe(seen: list[bool]) -> Callable[[Any], None]:
    return lambda engine: seen.append(host_works())


def run_into(message: str, failing: ConfigWorkflow) -> None:
    """Run a workflow that must end with this message."""
    try:
        failing.run()
    except RuntimeError as error:
        if message not in str(error.__cause__):
            raise
    else:
        raise AssertionError(f"did not end with: {message}")


def stop(engine: Any) -> None:
    raise ValueError("stopped by the host")


def use_torch_and_monai() -> None:
    """What the host did before: torch and MONAI set things of their own when they are first used."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.sum().backward()
    torch.optim.Adam([weight]).step()
    StatsHandler()


def main() -> None:
    use_torch_and_monai()
    root, dataset, output, small = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])
    common = {"dataset_dir": dataset, "device": "cpu"}
    before = state()
    import lung_nodule.bundle
    import lung_nodule.data
    import lung_nodule.evaluation
    import lung_nodule.networks
    import lung_nodule.training  # noqa: F401

    compare("import", before)
    plan = [("train", "train", "trainer", small), ("evaluate", "infer", "evaluator", {}),
            ("inference", "infer", "evaluator", {"folds": [0]})]  # fmt: skip
    for config, kind, engine, options in plan:
        options = {**common, **options}
        interrupted = {**options, "output_dir": str(output / "interrupted" if config == "train" else output / "whole")}
        failing = workflow(root, config, kind, interrupted)
        compare(f"{config} initialized", before)
        getattr(failing, engine).add_event_handler(Events.ITERATION_COMPLETED, stop)
        run_into("stopped by the host", failing)
        compare(f"{config} interrupted", before)
        running, seen = workflow(root, config, kind, {**options, "output_dir": str(output / "whole")}), []
        getattr(running, engine).add_event_handler(Events.ITERATION_COMPLETED, probe(seen))
        running.run()
        running.finalize()
        assert seen, "the run did nothing"
        assert all(seen), "the host's affines were gone during the run"
        compare(f"{config} whole", before)
        run_into("no dataset at", workflow(root, config, kind, {**interrupted, "dataset_dir": str(output / "none")}))
        compare(f"{config} without a dataset", before)
    print(f"checked {len(STEPS)} steps")


if __name__ == "__main__":
    main()
