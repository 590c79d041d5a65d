"""Run the Model Zoo's commands on a bundle's network and weights, each bundle in a process of its own.

As its ``ci/verify_bundle.py``: the bundle comes first on the path, and MONAI is given its files and ``bundle_root``.
Reads the roots of unzipped packages from standard input and answers each with a line of JSON, ``problem`` or null. The
processes are forked from one that has imported MONAI, which takes longer than the commands, and no bundle's library.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ckpt_export, verify_net_in_out

NETWORK = "network_def"


def export(bundle: Path, files: dict[str, Any]) -> None:
    """Every tensor of ``model.pt`` is in the exported network: MONAI copies those whose names match, and no others."""
    weights, script = bundle / "models" / "model.pt", bundle / "models" / "verify_model.ts"
    ckpt_export(net_id=NETWORK, filepath=str(script), ckpt_file=str(weights), **files)
    exported, shipped = torch.jit.load(str(script)).state_dict(), torch.load(weights, weights_only=True)
    same = [name for name, value in shipped.items() if name in exported and torch.equal(exported[name], value)]
    if len(same) < len(shipped):
        raise ValueError(f"{len(same)} of the {len(shipped)} tensors of model.pt are in the exported network")


def problem(root: Path) -> str | None:
    """Error of the commands on an unzipped package whose library comes first on the path; None if they succeed."""
    sys.path[0] = str(root)
    configs = {"meta_file": "metadata", "config_file": "inference"}
    given: dict[str, Any] = {key: str(root / "configs" / f"{name}.json") for key, name in configs.items()}
    given["bundle_root"] = str(root)
    command = "verify_net_in_out"
    try:
        verify_net_in_out(net_id=NETWORK, **given)
        command = "ckpt_export"
        export(root, given)
    except Exception as error:
        while error.__cause__ is not None:
            error = error.__cause__
        return f"{command}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None


def answer(root: Path) -> dict[str, Any]:
    """``problem`` of a package, found in a new process, which imports the package's library."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(2, 1)  # MONAI's prints do not belong to the answer
        os.chdir(root.parent)
        os.write(writing, json.dumps({"problem": problem(root)}).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(said) if said else {"problem": f"MONAI ended with status {status}"}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(Path(line.rstrip("\n")))), flush=True)
