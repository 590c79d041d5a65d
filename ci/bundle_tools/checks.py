"""Checks of a bundle's files; each check passes silently or raises ``BrokenError``.

``meta_schema_20240725.json`` next to this file is MONAI's schema of metadata, unchanged, from
https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json (Apache-2.0).
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, verify_metadata
from monai.bundle.properties import InferProperties, TrainProperties

from ci.bundle_tools.archive import LARGE_FILES, LARGEST
from ci.bundle_tools.code_style import complaints

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Path(__file__).parent / "meta_schema_20240725.json"
SCHEMA_SHA256 = "ea3e1ea7d2287de584348e75ea7149e77f2e3134c5f00b3ece78123f58d3a37b"

CONFIGS = ("train", "evaluate", "inference", "multi_gpu_train", "multi_gpu_evaluate")
OVERLAYS = {"multi_gpu_train": "train", "multi_gpu_evaluate": "evaluate"}
FILES = (
    "LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf", "configs/metadata.json",
    *(f"configs/{name}.json" for name in CONFIGS),
)  # fmt: skip
METADATA_KEYS = (
    "changelog", "data_source", "data_type", "image_classes", "label_classes", "pred_classes", "eval_metrics",
    "intended_use", "references",
)  # fmt: skip
RUN_IDS = {"train": "training", "evaluate": "evaluating", "inference": "inferring"}
CONFIG_KEYS = ("bundle_root", "device", "dataset_dir", "output_dir", "network_def", "initialize", "run")
VERSION_CALL = "$lung_nodule.library_version.refuse_other_library(@bundle_root)"
NO_USE = {"train#postprocessing", "train#key_metric", "validate#postprocessing", "key_metric"}
WRITERS = re.compile(r"(^|\.)(StatsHandler|TensorBoard\w+|ProgressBar|MLFlowHandler)$")
"""Handlers that do not know their rank."""
PINS = {"monai_version": "monai", "pytorch_version": "torch", "numpy_version": "numpy"}
HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
FORBIDDEN = ("torchvision", "timm", "segmentation_models_pytorch")
"""They cannot be imported with a CPU build of torch 2.13, and MONAI's parts that need them do not either."""


class BrokenError(ValueError):
    """A bundle that fails a check; the message says what is wrong and where."""


def required_files(bundle: Path) -> None:
    """The zoo's files are there and not empty."""
    missing = [name for name in FILES if not (bundle / name).is_file() or not (bundle / name).stat().st_size]
    _refuse("missing or empty", missing)


def formatting(bundle: Path) -> None:
    """JSON as ``json.dumps(..., indent=4)`` writes it."""
    texts = {path.name: path.read_text() for path in sorted((bundle / "configs").glob("*.json"))}
    wrong = [
        name
        for name, text in texts.items()
        if text != json.dumps(json.loads(text), indent=4, ensure_ascii=False) + "\n"
    ]
    _refuse("not formatted with 4 spaces", wrong)


def schema(bundle: Path) -> None:
    """MONAI's ``verify_metadata``, without a download."""
    try:
        verify_metadata(
            meta_file=str(bundle / "configs" / "metadata.json"),
            filepath=str(SCHEMA),
            hash_val=SCHEMA_SHA256,
            hash_type="sha256",
        )
    except ValueError as error:
        raise BrokenError("configs/metadata.json: " + " ".join(str(error.__cause__ or error).split())[:200]) from error


def metadata_keys(bundle: Path) -> None:
    """Metadata that the zoo requires beyond its schema: source, use, figures, and each channel's meaning and range."""
    metadata = _metadata(bundle)
    missing = [key for key in METADATA_KEYS if key not in metadata]
    for side in ("inputs", "outputs"):
        for name, tensor in metadata["network_data_format"][side].items():
            missing += [f"{side}.{name}.{key}" for key in ("value_range", "channel_def") if key not in tensor]
    if "pred" not in metadata["network_data_format"]["outputs"]:
        missing.append("outputs.pred")
    missing += ["figures in eval_metrics"] * (not metadata.get("eval_metrics"))
    missing += [f"a DOI in: {text}" for text in metadata.get("references", []) if "doi:10." not in text]
    _refuse("configs/metadata.json lacks", missing)


def changelog(bundle: Path) -> None:
    """The version has an entry."""
    metadata = _metadata(bundle)
    if metadata["version"] not in metadata.get("changelog", {}):
        raise BrokenError(f"configs/metadata.json: version {metadata['version']} has no entry in its changelog")


def versions(bundle: Path) -> None:
    """Every version that metadata names is the one pinned in requirements.txt (in a package: its own)."""
    requirements = next(path for path in (bundle / "requirements.txt", ROOT / "requirements.txt") if path.is_file())
    pinned = dict(re.findall(r"^([\w-]+)(?:\[[\w,]+\])?==(\S+)", requirements.read_text(), re.MULTILINE))
    metadata = _metadata(bundle)
    named = {**{package: metadata[key] for key, package in PINS.items()}, **metadata["required_packages_version"]}
    wrong = [
        f"{name} {version} ({pinned.get(name, 'not')} pinned)"
        for name, version in named.items()
        if pinned.get(name) != version
    ]
    _refuse("other versions than in requirements.txt:", wrong)


def config_keys(bundle: Path) -> None:
    """The keys and run ids that all bundles share, and the check of the library's version at the start."""
    missing = []
    for name, run_id in RUN_IDS.items():
        config = _config(bundle, name)
        missing += [f"{name}.json {key}" for key in (*CONFIG_KEYS, run_id) if key not in config]
        missing += [f"{name}.json initialize: {VERSION_CALL}"] * (VERSION_CALL not in config.get("initialize", []))
    _refuse("lacking", missing)


def zoo_properties(bundle: Path) -> None:
    """MONAI's properties of a bundle, including the optional ones, except those that no method here uses."""
    missing = []
    for name, properties in (("train", TrainProperties), ("inference", InferProperties), ("evaluate", InferProperties)):
        parser = ConfigParser(_config(bundle, name))
        wanted = {one["id"].replace("::", "#") for one in properties.values()} - NO_USE
        missing += [f"{name}.json {key}" for key in sorted(wanted) if key not in parser]
    _refuse("lacking", missing)


def overlays(bundle: Path) -> None:
    """Multi-GPU: every key of an overlay is one of its base, no handler is named by its index, only rank 0 writes."""
    wrong = []
    for overlay, base in OVERLAYS.items():
        parser = ConfigParser(_config(bundle, base))
        for key in _config(bundle, overlay):
            parent = key.lstrip("+").rpartition("#")[0].removesuffix("#_disabled_")
            wrong += [f"{overlay}.json {key}: nothing there in {base}.json"] * bool(parent and parent not in parser)
            wrong += [f"{overlay}.json {key} names a handler by its place"] * bool(re.search(r"handlers#\d", key))
        if not wrong:
            merged = ConfigParser.load_config_files([str(bundle / "configs" / f"{n}.json") for n in (base, overlay)])
            wrong += [f"{overlay}.json {where}" for where in _wrongly_silenced(merged)]
    _refuse("the overlay is wrong:", wrong)


def _wrongly_silenced(config: object, where: str = "") -> list[str]:
    """Writers that run on all ranks, and other handlers that do not."""
    if isinstance(config, list):
        return [found for index, part in enumerate(config) for found in _wrongly_silenced(part, f"{where}#{index}")]
    if not isinstance(config, dict):
        return []
    found = [one for key, part in config.items() for one in _wrongly_silenced(part, f"{where}#{key}".lstrip("#"))]
    if re.search(r"handlers#\d+$", where):
        target, silenced = config["_target_"], config.get("_disabled_") == "$@rank > 0"
        if silenced != bool(WRITERS.search(target)):
            found.append(f"{where} ({target}) {'must run on every rank' if silenced else 'writes on every rank'}")
    return found


def sizes(bundle: Path) -> None:
    """No file above 25 MB, except those that ``large_files.yml`` names."""
    named = {entry.get("path") for entry in _large_files(bundle)}
    files = ((path.relative_to(bundle).as_posix(), path.stat().st_size) for path in bundle.rglob("*") if path.is_file())
    _refuse(
        f"above 25 MB and not in {LARGE_FILES}:",
        [f"{name} ({size / 2**20:.1f} MB)" for name, size in sorted(files) if size > LARGEST and name not in named],
    )


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def large_files(bundle: Path) -> None:
    """Each entry has path, url, hash and its type; a file that is there has that hash."""
    wrong = []
    for entry in _large_files(bundle):
        path, kind, value = entry.get("path", "?"), entry.get("hash_type", ""), entry.get("hash_val", "")
        lacking = [key for key in ("path", "url", "hash_val", "hash_type") if not entry.get(key)]
        wrong += [f"{path} has no {key}" for key in lacking]
        if kind and value and not re.fullmatch(rf"[0-9a-f]{{{HASH_LENGTHS.get(kind, 0)}}}", str(value)):
            wrong.append(f"{path}: {value} is not a {kind}")
        elif kind and value and (bundle / path).is_file() and _digest(bundle / path, kind) != value:
            wrong.append(f"{path} has another {kind} than {value}")
    _refuse(f"{LARGE_FILES}:", wrong)


def forbidden_imports(bundle: Path) -> None:
    """No torchvision and what needs it: in the configs, in the metadata, in the library next to the bundle."""
    library = _library(bundle)
    found = [
        f"{path.name} names {name}"
        for path in (bundle / "configs").glob("*.json")
        for name in FORBIDDEN
        if re.search(rf"[\"$ ]{name}\b", path.read_text())
    ]
    for path in library.rglob("*.py"):
        found += [f"{path.relative_to(library.parent)} imports {name}" for name in FORBIDDEN if name in _imports(path)]
    _refuse("cannot be relied on:", found)


def code_style(bundle: Path) -> None:
    """The library passes the zoo's isort, black and flake8."""
    _refuse("the zoo's code style:", list(complaints(_library(bundle))))


def logging_conf(bundle: Path) -> None:
    """MONAI allows no calls in the arguments of logging.conf."""
    if "os.path" in (bundle / "configs" / "logging.conf").read_text():
        raise BrokenError("configs/logging.conf calls os.path, which MONAI refuses")


CHECKS: dict[str, Callable[[Path], None]] = {
    "files": required_files,
    "formatting": formatting,
    "metadata schema": schema,
    "metadata keys": metadata_keys,
    "changelog": changelog,
    "versions": versions,
    "config keys": config_keys,
    "zoo properties": zoo_properties,
    "multi-GPU": overlays,
    "file sizes": sizes,
    "large files": large_files,
    "imports": forbidden_imports,
    "code style": code_style,
    "logging.conf": logging_conf,
}
"""By name, in the order in which they are reported."""


def _refuse(what: str, wrong: list[str]) -> None:
    if wrong:
        raise BrokenError(f"{what} {', '.join(wrong)}")


def _library(bundle: Path) -> Path:
    """The library that the bundle runs with: its own in a package, else the repository's."""
    return next(path for path in (bundle / "lung_nodule", ROOT / "lung_nodule") if path.is_dir())


def _config(bundle: Path, name: str) -> dict[str, Any]:
    return json.loads((bundle / "configs" / f"{name}.json").read_text())


def _metadata(bundle: Path) -> dict[str, Any]:
    return _config(bundle, "metadata")


def _large_files(bundle: Path) -> list[dict[str, Any]]:
    path = bundle / LARGE_FILES
    return ConfigParser.load_config_file(str(path))["large_files"] if path.is_file() else []


def _imports(path: Path) -> set[str]:
    """Top-level names of a file's absolute imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names
