"""Zip bundles so that they run anywhere: python ci/package_bundles.py [NAME...] --out DIR."""

from __future__ import annotations

import sys
from pathlib import Path

import fire

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's library, whatever is installed

from ci.bundle_tools.archive import bundles_named, write_package  # noqa: E402
from lung_nodule.errors import InputError, report_in_one_line  # noqa: E402
from lung_nodule.io import file_sha256  # noqa: E402


def package(
    *names: str,
    out: str,
    bundles: str = str(ROOT / "bundles"),
    weights_url: str | None = None,
    zoo_name: bool = False,
) -> None:
    """Write <name>_v<version>.zip: the bundle with a copy of lung_nodule/ and its requirements.txt.

    Args:
        names: bundle names; all bundles by default.
        out: folder in which to write the zips.
        bundles: folder of the bundles.
        weights_url: URL of one bundle's weights above 25 MB.
        zoo_name: name zip and folder as the Model Zoo does, lung_nodule_ct_<name>.
    """
    chosen = bundles_named(Path(bundles), names)
    if weights_url is not None and len(chosen) != 1:
        raise InputError(
            f"--weights_url is the address of one bundle's weights, but {len(chosen)} are to be packaged: name one"
        )
    for bundle in chosen:
        path, weights = write_package(bundle, Path(out), weights_url=weights_url, zoo_name=zoo_name)
        print(f"{path}  {file_sha256(path)}  {weights}")


if __name__ == "__main__":
    report_in_one_line()
    fire.Fire(package)
