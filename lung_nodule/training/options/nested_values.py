"""Nested values of a training that are not those of the bundle's own file, such as ``train#lr_scheduler#gamma``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lung_nodule.errors import InputError
from lung_nodule.training.options.unknown_keys import can_be_run, references
from monai.bundle import ConfigParser, ReferenceResolver
from monai.bundle.utils import ID_SEP_KEY

FILE_OPTIONS = {"bundle_root", "repository", "dataset_dir", "output_dir", "model_path", "cache_dir"}
"""Options that say where files lie."""

WORK_OPTIONS = {"device", "num_workers", "cache_rate", "cache_workers"}
"""Options that say how the work is done."""

WORK_KEYS = {"progress", "persistent_workers", "pin_memory", "prefetch_factor"}
"""Arguments of datasets and loaders that say how the work is done and that no option sets."""

NOT_LEARNT = {
    "imports", "initialize", "run", "finalize", "search_path", "shipped", "settings", "training_list",
    "validation_list", "rated_list", "assemble", "fit_readout",
}  # fmt: skip
"""Entries that do not decide what is learnt: lists of nodules have fingerprints, the side file is a description."""

LENGTH = "train#trainer#max_epochs"
"""MONAI's own id of the number of epochs, which every schedule follows and which no resume compares."""

_MEANINGFUL = {"_target_", "_mode_", "_disabled_"}


@dataclass(frozen=True)
class Change:
    """A value that differs from the one of the bundle's own file.

    Attributes:
        place: its id as a command line has it.
        given: value of the running configuration; None where it has none.
        shipped: value of the bundle's own file; None where one of the two has none.
    """

    place: str
    given: Any
    shipped: Any


def shipped_config(bundle_root: str | Path, workflow: str = "train") -> dict[str, Any]:
    """A bundle's own ``configs/<workflow>.json`` as a parser has it before it evaluates anything: without macros.

    Raises:
        InputError: the file does not exist.
    """
    parser = ConfigParser(ConfigParser.load_config_file(shipped_file(bundle_root, workflow)))
    parser.resolve_macro_and_relative_ids()
    return parser.get()


def shipped_file(bundle_root: str | Path, workflow: str) -> Path:
    """The path of a bundle's own ``configs/<workflow>.json``.

    Raises:
        InputError: the file does not exist.
    """
    file = Path(bundle_root) / "configs" / f"{workflow}.json"
    if not file.is_file():
        raise InputError(f"no {file}: name the bundle's folder with --bundle_root")
    return file


def refuse_values_of_options(
    config: Mapping[str, Any], shipped: Mapping[str, Any], *, options: Set[str], allowed: Collection[str] = ()
) -> None:
    """Refuse other nested values where the bundle's own file has an option's: the side file would state the option's.

    Options that say where files lie and how the work is done are left out.

    Args:
        config: running configuration.
        shipped: the bundle's own, by :func:`shipped_config`.
        options: names of the options.
        allowed: entries of the outermost level that may have other values.

    Raises:
        InputError: one line with every such id and the options to use in its place.
    """
    refused = []
    for change in changes(_entries(config, allowed), _entries(shipped, allowed)):
        setting = sorted(_heads(change.shipped) & options - FILE_OPTIONS - WORK_OPTIONS)
        if setting and "#" in change.place and change.place != LENGTH:
            named = " and ".join(f"--{name}" for name in setting)
            refused.append(f"--{change.place} is set by {named}: use {'that' if len(setting) == 1 else 'these'}")
    if refused:
        raise InputError("; ".join(refused))


def overrides(
    config: Mapping[str, Any], shipped: Mapping[str, Any], *, options: Set[str], left_out: Set[str]
) -> dict[str, Any]:
    """The values, no options, that decide what is learnt and are not those of the bundle's own file.

    Args:
        config: running configuration.
        shipped: the bundle's own, by :func:`shipped_config`.
        options: names of the options, which are compared by themselves.
        left_out: entries of the outermost level, and last parts of an id, that are not compared.

    Returns:
        by id, as plain values that JSON and ``torch.load(weights_only=True)`` take; a reference as its text, an object
        as the name of its class.
    """
    skipped = {*options, *NOT_LEARNT, *left_out}
    found = changes(_entries(config, skipped), _entries(shipped, skipped))
    return {change.place: _plain(change.given) for change in found if not _is_work(change, left_out)}


def changes(given: Any, shipped: Any, place: str = "") -> Iterator[Change]:
    """The differences of two configurations, each at the lowest level that both have.

    Lists are compared entry by entry where they have as many entries of the same classes, as a whole otherwise.
    """
    if isinstance(given, dict) and isinstance(shipped, dict):
        for key in sorted(given.keys() | shipped.keys()):
            child = f"{place}#{key}" if place else key
            if key.startswith("_") and key not in _MEANINGFUL:
                continue
            if key in given and key in shipped:
                yield from changes(given[key], shipped[key], child)
            else:
                yield Change(child, given.get(key), None)
    elif _are_alike(given, shipped):
        for index, (one, other) in enumerate(zip(given, shipped, strict=True)):
            yield from changes(one, other, f"{place}#{index}")
    elif _plain(given) != _plain(shipped):
        yield Change(place, given, shipped)


def _entries(config: Mapping[str, Any], left_out: Collection[str]) -> dict[str, Any]:
    """The entries of the outermost level that are not run and not left out."""
    return {key: value for key, value in config.items() if key not in left_out and not can_be_run(value)}


def _are_alike(given: Any, shipped: Any) -> bool:
    if not (isinstance(given, list | tuple) and isinstance(shipped, list | tuple) and len(given) == len(shipped)):
        return False
    return all(_target(one) == _target(other) for one, other in zip(given, shipped, strict=True))


def _target(part: Any) -> Any:
    return part.get("_target_") if isinstance(part, dict) else None


def _is_work(change: Change, left_out: Set[str]) -> bool:
    """Whether a difference is only where files lie or how the work is done, or of what no resume compares."""
    if change.place.rsplit("#", 1)[-1] in WORK_KEYS | left_out:
        return True
    heads = _heads(change.shipped)
    return bool(heads) and heads <= FILE_OPTIONS | WORK_OPTIONS


def _heads(value: Any) -> set[str]:
    """The entries of the outermost level that a text refers to; none of what is not text."""
    return {found.split(ID_SEP_KEY)[0] for found in references(value)} if isinstance(value, str) else set()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | Path):
        return ReferenceResolver.normalize_id(str(value))
    if value is None or isinstance(value, bool | int | float):
        return value
    return f"{type(value).__module__}.{type(value).__qualname__}"
