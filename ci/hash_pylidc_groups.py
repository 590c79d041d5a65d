"""Group all scans' annotations with pylidc itself and print the hash that CI compares ours with (about five minutes).

    python ci/hash_pylidc_groups.py tests/preprocessing/lidc/pylidc_groups.json

Without a path it only prints. With --check the exit status says whether the file is what pylidc gives.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lung_nodule.io import write_json
from preprocessing.lidc.clustering import canonical_groups, groups_hash
from preprocessing.lidc.pylidc_compat import import_pylidc


def pylidc_groups() -> dict[str, list[list[int]]]:
    """Series UID -> annotation ids of each of pylidc's default clusters."""
    pylidc = import_pylidc()
    found = {}
    for scan in tqdm(pylidc.query(pylidc.Scan).all(), unit="scan"):
        clusters = scan.cluster_annotations(verbose=False)
        found[scan.series_instance_uid] = [[annotation.id for annotation in cluster] for cluster in clusters]
    return found


def main(arguments: list[str]) -> int:
    """Print the description; write it to the file named, or with --check compare it (exit status 1: it differs)."""
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    if "--check" in arguments and not paths:
        sys.exit("--check needs the file to compare with: tests/preprocessing/lidc/pylidc_groups.json")
    canonical = canonical_groups(pylidc_groups())
    description = {
        "pylidc": version("pylidc"),
        "scans": len(canonical),
        "groups": sum(len(groups) for groups in canonical.values()),
        "annotations": sum(len(group) for groups in canonical.values() for group in groups),
        "sha256": groups_hash(canonical),
    }
    print(json.dumps(description, indent=2))
    if "--check" in arguments:
        return int(any(json.loads(path.read_text()) != description for path in paths))
    for path in paths:
        write_json(path, description)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
