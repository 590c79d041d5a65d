"""The verification names what is broken, and passes what is not."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ci.bundle_tools.archive import LARGEST, bundles_named
from ci.bundle_tools.built import BuiltBundle
from ci.bundle_tools.checks import CHECKS, BrokenError
from ci.bundle_tools.code_style import complaints
from ci.bundle_tools.verification import verify_bundle
from lung_nodule.errors import InputError
from tests.forked import interpreter, run_python
from tests.slow import slow_except

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of mtnet, to be broken."""
    copy = tmp_path / "bundles" / "mtnet"
    shutil.copytree(ROOT / "bundles" / "mtnet", copy, ignore=shutil.ignore_patterns("models"))
    return copy


def edit(bundle: Path, config: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / "configs" / f"{config}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n")


def edits(config: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda bundle: edit(bundle, config, change)


def large_file(bundle: Path, *, hash_val: str, hash_type: str) -> None:
    (bundle / "models").mkdir()
    (bundle / "models" / "model.pt").write_bytes(b"weights")
    entry = {"path": "models/model.pt", "url": "https://example.org/x", "hash_val": hash_val, "hash_type": hash_type}
    (bundle / "large_files.yml").write_text(json.dumps({"large_files": [entry]}))


def big_file(bundle: Path) -> None:
    with (bundle / "docs" / "big.bin").open("wb") as file:
        file.truncate(LARGEST + 1)


@pytest.fixture
def with_a_library(bundle: Path) -> Path:
    """The copy with a library of one file, which the zoo's tools check in no time, beside it as in a package."""
    (bundle / "lung_nodule").mkdir()
    shutil.copy(ROOT / "lung_nodule" / "errors.py", bundle / "lung_nodule")
    return bundle


BROKEN = {
    "no license": ("files", lambda b: (b / "LICENSE").unlink(), "LICENSE"),
    "two spaces": (
        "formatting",
        lambda b: (b / "configs" / "train.json").write_text(json.dumps({"a": 1}, indent=2)),
        "train.json",
    ),
    "no task": ("metadata schema", edits("metadata", lambda c: c.pop("task")), "'task' is a required property"),
    "no intended use": ("metadata keys", edits("metadata", lambda c: c.pop("intended_use")), "intended_use"),
    "no figures": ("metadata keys", edits("metadata", lambda c: c.update(eval_metrics={})), "figures in eval_metrics"),
    "no DOI": (
        "metadata keys",
        edits("metadata", lambda c: c["references"].append("Doe J 2020")),
        "DOI in: Doe J 2020",
    ),
    "no range": (
        "metadata keys",
        edits("metadata", lambda c: c["network_data_format"]["outputs"]["pred"].pop("value_range")),
        "outputs.pred.value_range",
    ),
    "new version": ("changelog", edits("metadata", lambda c: c.update(version="7.0.0")), "7.0.0"),
    "other torch": ("versions", edits("metadata", lambda c: c.update(pytorch_version="1.0")), "torch 1.0 (2."),
    "unpinned": (
        "versions",
        edits("metadata", lambda c: c["required_packages_version"].update(einops="1.0")),
        "einops 1.0 (not pinned)",
    ),
    "no run id": ("config keys", edits("evaluate", lambda c: c.pop("evaluating")), "evaluate.json evaluating"),
    "no version check": ("config keys", edits("train", lambda c: c["initialize"].pop(1)), "refuse_other_library"),
    "unknown key": (
        "multi-GPU",
        edits("multi_gpu_train", lambda c: c.update({"trane#dataloader#shuffle": False})),
        "trane#dataloader#shuffle: nothing there",
    ),
    "rank 1 writes": (
        "multi-GPU",
        edits("evaluate", lambda c: c["handlers"].append({"_target_": "StatsHandler"})),
        "handlers#2 (StatsHandler) writes on every rank",
    ),
    "rank 1 does not report": (
        "multi-GPU",
        edits("evaluate", lambda c: c["handlers"][0].update({"_disabled_": "$@rank > 0"})),
        "handlers#0 (lung_nodule.evaluation.EvaluationReport) must run on every rank",
    ),
    "a handler by its place": (
        "multi-GPU",
        edits("multi_gpu_evaluate", lambda c: c.update({"handlers#1#_disabled_": True})),
        "handlers#1#_disabled_ names a handler by its place",
    ),
    "big": ("file sizes", big_file, "docs/big.bin (25.0 MB)"),
    "wrong hash": (
        "large files",
        lambda b: large_file(b, hash_val="0" * 64, hash_type="sha256"),
        "another sha256",
    ),
    "wrong md5": ("large files", lambda b: large_file(b, hash_val="0" * 32, hash_type="md5"), "another md5"),
    "md5 called sha256": (
        "large files",
        lambda b: large_file(b, hash_val="0" * 32, hash_type="sha256"),
        "is not a sha256",
    ),
    "no hash type": ("large files", lambda b: large_file(b, hash_val="0" * 64, hash_type=""), "has no hash_type"),
    "torchvision": ("imports", edits("train", lambda c: c["imports"].append("$import torchvision")), "torchvision"),
    "no data": ("zoo properties", edits("train", lambda c: c["train"]["dataset"].pop("data")), "train#dataset#data"),
    "join": (
        "logging.conf",
        lambda b: (b / "configs" / "logging.conf").write_text("args=(os.path.join('a', 'b'),)"),
        "os.path",
    ),
}


@pytest.mark.parametrize("case", slow_except(BROKEN.keys() - {"torchvision"}, BROKEN))
def test_what_is_broken_is_named(bundle: Path, case: str) -> None:
    check, damage, said = BROKEN[case]
    CHECKS[check](bundle)
    damage(bundle)
    with pytest.raises(BrokenError) as broken:
        CHECKS[check](bundle)
    assert said in str(broken.value)


def test_an_unused_import_is_named(with_a_library: Path) -> None:
    CHECKS["code style"](with_a_library)
    broken = with_a_library / "lung_nodule" / "broken.py"
    broken.write_text("from __future__ import annotations\n\nimport os\n")
    complaints.cache_clear()
    with pytest.raises(BrokenError, match="F401 'os' imported but unused"):
        CHECKS["code style"](with_a_library)


def test_every_check_is_broken_once() -> None:
    assert {check for check, *_ in BROKEN.values()} == set(CHECKS) - {"code style"}


@pytest.mark.slow
def test_a_network_with_two_outputs_and_a_missing_property(
    bundle: Path, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", interpreter())  # of zoo_commands.py, which imports MONAI
    built = BuiltBundle(bundle, dataset=painted, output=tmp_path / "out")
    built.check_shipped()
    sound = (bundle / "configs" / "inference.json").read_text()
    several = {"_target_": "lung_nodule.networks.MTNet", "width": 0.125, "middle_blocks": 1}
    edit(bundle, "inference", lambda c: c.update(network_def=several))
    with pytest.raises(BrokenError, match=r"network_def of inference\.json"):
        built.check_shipped()
    edit(bundle, "inference", lambda c: c.update(network_def={"_target_": "torch.nn.Identity"}))
    with pytest.raises(BrokenError, match="channel number `1` doesn't match: `3`"):
        built.check_shipped()
    (bundle / "configs" / "inference.json").write_text(sound)
    edit(bundle, "evaluate", lambda c: c.pop("inferer"))
    with pytest.raises(BrokenError, match=r"evaluate\.json"):
        built.check_properties()
    weights = tmp_path / "out" / "model.pt"
    state = {f"network.{name}": value for name, value in torch.load(weights, weights_only=True).items()}
    torch.save(state, weights)
    with pytest.raises(BrokenError, match=r"ckpt_export: .*Missing key"):
        built.check_shipped()


def test_a_bundle_that_cannot_be_built_is_named(with_a_library: Path, painted: Path, tmp_path: Path) -> None:
    bundle = with_a_library
    edit(bundle, "train", lambda c: c["network_def"].update(_target_="lung_nodule.networks.NoNet"))
    found = {verdict.check: verdict.line() for verdict in verify_bundle(bundle, dataset=painted, output=tmp_path)}
    assert found["builds"].startswith("FAIL  mtnet  builds: ")
    assert "NoNet" in found["builds"]
    assert found["changelog"] == "ok    mtnet  changelog"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="no bundle nonet in"):
        bundles_named(ROOT / "bundles", ["nonet"])


@pytest.mark.slow
def test_the_command_passes_every_bundle() -> None:
    """All of the repository's bundles; and a broken one ends it with 1 and a line."""
    command = [str(ROOT / "ci" / "verify_bundles.py")]
    ended = run_python(command, folder=ROOT, environment=os.environ, fork_children=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-2000:]
    for name in bundles_named(ROOT / "bundles", []):
        assert f"ok    {name.name}  properties" in ended.stdout


def test_the_command_fails_with_a_line(with_a_library: Path) -> None:
    bundle = with_a_library
    edit(bundle, "metadata", lambda c: c.update(version="7.0.0"))
    (bundle / "configs" / "train.json").unlink()
    command = [str(ROOT / "ci" / "verify_bundles.py"), "--bundles", str(bundle.parent)]
    ended = run_python(command, folder=ROOT, environment=os.environ, fork_children=True)
    assert ended.returncode == 1
    assert "FAIL  mtnet  changelog: " in ended.stdout
    assert "FAIL  mtnet  files: missing or empty configs/train.json" in ended.stdout
