"""A bundle that runs in somebody else's process leaves it as it was, also when the run fails."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ci.bundle_tools.painted_dataset import write_dataset
from tests.bundles.test_e2emtl import TestE2EMTL
from tests.bundles.test_mtcnn import TestMTCNN
from tests.bundles.test_mtmrnet import TestMTMRNet
from tests.bundles.test_mtnet import TestMTNet
from tests.forked import run_python

ROOT = Path(__file__).parents[2]
CONTRACTS = {contract.name: contract for contract in (TestMTNet, TestMTMRNet, TestMTCNN, TestE2EMTL)}
for imported in [name for name in globals() if name.startswith("Test")]:
    del globals()[imported]  # pytest would run them here once more


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two painted nodules in each fold."""
    return write_dataset(tmp_path_factory.mktemp("guest"), patients=5)


@pytest.mark.slow
@pytest.mark.parametrize("bundle", CONTRACTS)
def test_a_bundle_leaves_no_trace_in_its_hosts_process(bundle: str, dataset: Path, tmp_path: Path) -> None:
    """Imported, trained, evaluated, inferred; interrupted by the host; without data. MetaTensors go on meanwhile."""
    small = {**CONTRACTS[bundle].small, "max_epochs": 1}
    command = ["-m", "tests.bundles.guest", str(ROOT / "bundles" / bundle), str(dataset)]
    command += [str(tmp_path), json.dumps(small)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = run_python(command, folder=ROOT, environment=environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "CHANGED" not in ended.stdout, ended.stdout
    assert ended.stdout.splitlines()[-1] == "checked 13 steps"
