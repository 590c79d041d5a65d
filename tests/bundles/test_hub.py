"""A package in a Hugging Face repository, loaded back as the README says; the hub itself is a local folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from ci.bundle_tools.archive import write_package
from tests.bundles.test_load import in_a_repository
from tests.bundles.unzipped import unzipped
from tests.forked import run_python

ROOT = Path(__file__).parents[2]
HUB = '''
"""In the place of the package huggingface_hub: the two functions that MONAI calls, on a local folder."""
import json, os, shutil, types
from types import SimpleNamespace

errors = types.ModuleType("errors")

def list_repo_refs(*, repo_id):
    return SimpleNamespace(tags=[], branches=[SimpleNamespace(name="main")])

def snapshot_download(*, repo_id, revision, local_dir):
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(json.dumps([repo_id, revision, local_dir]) + "\\n")
    return shutil.copytree(os.environ["SNAPSHOT"], local_dir, dirs_exist_ok=True)
'''
FRESH = """
import sys
for name in [name for name in sys.modules if name.startswith("monai.bundle")]:
    del sys.modules[name]  # it looks for huggingface_hub once, when it is imported
"""
CHECK = """
import torch
weights = torch.load(f"downloaded/{name}/models/model.pt", weights_only=True)
state = network.state_dict()
assert state.keys() == weights.keys()
assert all(torch.equal(state[key], weights[key]) for key in weights)
import lung_nodule
print("library", lung_nodule.__file__)
"""


def program_of_the_readme() -> str:
    """The Python of the README's paragraph on Hugging Face."""
    text = (ROOT / "README.md").read_text()
    (program,) = [part.split("```")[0] for part in text.split("```python\n")[1:] if "huggingface_hub" in part]
    return program


@pytest.mark.slow
def test_a_pushed_package_loads_back(tmp_path: Path) -> None:
    """From an empty folder, with nothing of the repository on the path: the very weights, by the package's library.

    What differs between bundles in loading is tested in ``test_load``.
    """
    bundle = "mtnet"
    weights = in_a_repository(bundle, tmp_path / "repository")
    path, _ = write_package(tmp_path / "repository" / "bundles" / bundle, tmp_path / "zips")
    snapshot = unzipped(path, tmp_path / "pushed")
    assert (snapshot / "models" / "model.pt").read_bytes() == weights.read_bytes()
    (snapshot / ".gitattributes").write_text("*.pt filter=lfs diff=lfs merge=lfs -text\n")
    (snapshot / "README.md").write_text("---\nlibrary_name: monai\n---\n")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "huggingface_hub.py").write_text(HUB)
    shutil.rmtree(tmp_path / "repository")

    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(tmp_path / "hub"), "SNAPSHOT": str(snapshot), "CALLS": str(tmp_path / "calls")}
    program = FRESH + program_of_the_readme() + f"\nname = {bundle!r}" + CHECK
    ended = run_python(["-P", "-c", program], folder=empty, environment=environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert f"library {empty / 'downloaded' / bundle / 'lung_nodule'}" in ended.stdout
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == [[f"OWNER/{bundle}", "main", os.path.join("downloaded", bundle)]]
