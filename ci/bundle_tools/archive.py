"""A bundle as one zip that runs without the repository; the same content gives the same bytes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lung_nodule.errors import InputError
from lung_nodule.io import atomic_path, file_sha256
from lung_nodule.library_version import KEY, LIBRARY, VERSION_FILE, library_files, library_version

LARGEST = 25 * 1024 * 1024
"""Bytes of the largest file that the Model Zoo takes into a bundle."""
WEIGHTS, SIDE_FILE, LARGE_FILES = "models/model.pt", "models/model.json", "large_files.yml"
ZOO_PREFIX = "lung_nodule_ct_"
EPOCH = (1980, 1, 1, 0, 0, 0)


def bundles_named(folder: Path, names: Iterable[str]) -> list[Path]:
    """The folders of some bundles, of all where none is named.

    Raises:
        InputError: no such bundle.
    """
    found = {path.parents[1].name: path.parents[1] for path in sorted(folder.glob("*/configs/metadata.json"))}
    names = list(names) or list(found)
    missing = [name for name in names if name not in found]
    if missing or not found:
        raise InputError(f"no bundle {', '.join(missing) or 'at all'} in {folder}; there are: {', '.join(found)}")
    return [found[name] for name in names]


def write_package(
    bundle: Path, out: Path, *, library: Path = LIBRARY, weights_url: str | None = None, zoo_name: bool = False
) -> tuple[Path, str]:
    """Write ``<name>_v<version>.zip``: the bundle's folder with a copy of ``lung_nodule/``.

    Entries are sorted and stored (no compression, whose bytes differ between versions of zlib), with fixed times and
    permissions.

    Args:
        bundle: folder of the bundle.
        out: folder in which to write the zip.
        library: folder ``lung_nodule/`` to copy.
        weights_url: URL of weights above 25 MB, if the bundle has no ``large_files.yml``.
        zoo_name: whether to name the zip and its folder as the Model Zoo does, by organ, modality and task
            (``lung_nodule_ct_mtnet``).

    Returns:
        the zip, and one line on the weights in it.

    Raises:
        InputError: not a bundle, or weights above 25 MB that nothing says where to get.
    """
    metadata = _metadata(bundle)
    weights, said = _weights(bundle, weights_url)
    version = library_version(library)
    entries = {path.relative_to(bundle).as_posix(): path.read_bytes() for path in _own_files(bundle)}
    entries |= {
        f"lung_nodule/{path.relative_to(library).as_posix()}": path.read_bytes() for path in library_files(library)
    }
    entries |= {
        "configs/metadata.json": _json({**metadata, KEY: version}),
        f"lung_nodule/{VERSION_FILE}": _json(version),
        **weights,
    }
    needed = requirements_of(metadata) + (f"PyYAML=={yaml.__version__}\n" if LARGE_FILES in entries else "")
    entries["requirements.txt"] = needed.encode()
    name = f"{ZOO_PREFIX if zoo_name else ''}{bundle.resolve().name}"
    path = out / f"{name}_v{metadata['version']}.zip"
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for entry in sorted(entries):
            archive.writestr(_fixed(f"{name}/{entry}"), entries[entry])
    return path, said


def requirements_of(metadata: dict[str, Any]) -> str:
    """The package's ``requirements.txt``: what the metadata names, pinned."""
    versions = {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
        **metadata["required_packages_version"],
    }
    return "".join(f"{package}=={version}\n" for package, version in versions.items())


def _metadata(bundle: Path) -> dict[str, Any]:
    path = bundle / "configs" / "metadata.json"
    if not path.is_file():
        raise InputError(f"{bundle} is not a bundle: it has no configs/metadata.json")
    return json.loads(path.read_text())


def _own_files(bundle: Path) -> list[Path]:
    """The bundle's files but its models, of which only the weights and their side file are packaged."""
    files = (path for path in bundle.rglob("*") if path.is_file())
    kept = (path for path in files if path.relative_to(bundle).parts[0] not in ("models", "lung_nodule"))
    return [path for path in kept if not any(part.startswith((".", "__")) for part in path.relative_to(bundle).parts)]


def _weights(bundle: Path, url: str | None) -> tuple[dict[str, bytes], str]:
    """Zip entries of the weights, and a description of them for the log."""
    weights, side_file = bundle / WEIGHTS, bundle / SIDE_FILE
    side = {SIDE_FILE: side_file.read_bytes()} if side_file.is_file() else {}
    if not weights.is_file():
        if (bundle / LARGE_FILES).is_file():
            return side, f"weights to download, as {LARGE_FILES} says"
        return {}, "no weights: copy model.pt and model.json of a training into its models/ first"
    if not side:
        raise InputError(f"{weights} has no side file {side_file.name} next to it; take the pair that training wrote")
    if weights.stat().st_size <= LARGEST:
        return {WEIGHTS: weights.read_bytes(), **side}, f"weights of {weights.stat().st_size / 2**20:.1f} MB"
    return {**side, **_large_files(bundle, weights, url)}, "weights above 25 MB, to download"


def _large_files(bundle: Path, weights: Path, url: str | None) -> dict[str, bytes]:
    """``large_files.yml``: the bundle's own where it has one, else one that names ``url``."""
    if (bundle / LARGE_FILES).is_file():
        return {}
    if url is None:
        raise InputError(
            f"{weights} is above 25 MB: say where it will lie with --weights_url URL, "
            f"or add {LARGE_FILES} to the bundle"
        )
    described = {"path": WEIGHTS, "url": url, "hash_val": file_sha256(weights), "hash_type": "sha256"}
    return {LARGE_FILES: yaml.safe_dump({"large_files": [described]}, sort_keys=False).encode()}


def _json(content: object) -> bytes:
    return (json.dumps(content, indent=4, ensure_ascii=False) + "\n").encode()


def _fixed(name: str) -> zipfile.ZipInfo:
    """An entry of a file that everyone may read, with a fixed time, as from Unix whatever the system."""
    entry = zipfile.ZipInfo(name, date_time=EPOCH)
    entry.create_system, entry.external_attr, entry.compress_type = 3, 0o100644 << 16, zipfile.ZIP_STORED
    return entry
