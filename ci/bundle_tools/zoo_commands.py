"""What the Model Zoo does with a bundle's network and weights: zoo_commands.py BUNDLE, in a process of its own.

As its ``ci/verify_bundle.py``: the bundle comes first on the path, and MONAI is given its files and ``bundle_root``.
"""

from __future__ import annotations

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


if __name__ == "__main__":
    root = Path(sys.argv[1])
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
        sys.exit(f"{command}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
