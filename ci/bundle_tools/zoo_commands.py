"""What the Model Zoo does with a bundle's weights: zoo_commands.py BUNDLE COMMAND, in a process of its own.

As its ``ci/verify_bundle.py``: the bundle comes first on the path, and MONAI is given its files and ``bundle_root``.
"""

import sys
from pathlib import Path

import torch
from monai.bundle import ckpt_export, verify_net_in_out


VERIFIED = {"verify": True}  # the traced network answers as the network does


def net_in_out(bundle: Path, files: dict[str, str]) -> None:
    verify_net_in_out(net_id="network_def", **files)


def export(bundle: Path, files: dict[str, str]) -> None:
    """To TorchScript, by tracing, with every tensor of ``model.pt``: MONAI copies those whose names match, no others."""
    weights, script = bundle / "models" / "model.pt", bundle / "models" / "verify_model.ts"
    ckpt_export(
        net_id="network_def",
        filepath=str(script),
        ckpt_file=str(weights),
        use_trace=True,
        converter_kwargs=VERIFIED,
        **files,
    )
    exported, shipped = torch.jit.load(str(script)).state_dict(), torch.load(weights, weights_only=True)
    same = [name for name, value in shipped.items() if name in exported and torch.equal(exported[name], value)]
    script.unlink()
    if len(same) < len(shipped):
        sys.exit(f"of the {len(shipped)} tensors of model.pt {len(same)} are in the exported network")


COMMANDS = {"verify_net_in_out": net_in_out, "ckpt_export": export}

if __name__ == "__main__":
    root = Path(sys.argv[1])
    sys.path[0] = str(root)
    configs = {"meta_file": "metadata", "config_file": "inference"}
    given = {key: str(root / "configs" / f"{name}.json") for key, name in configs.items()}
    COMMANDS[sys.argv[2]](root, {**given, "bundle_root": str(root)})
