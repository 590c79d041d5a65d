"""Keys that a configuration was given and that nothing in it reads: misspelt options."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Set
from pydoc import locate
from typing import Any, cast

from lung_nodule.errors import InputError
from monai.bundle import ConfigComponent, ConfigExpression, ConfigParser, ReferenceResolver
from monai.bundle.utils import ID_SEP_KEY

OTHER_NAMES = {
    "checkpoint": "model_path",
    "ckpt": "model_path",
    "ckpt_path": "model_path",
    "weights": "model_path",
    "data_dir": "dataset_dir",
    "dataset": "dataset_dir",
    "lr": "learning_rate",
    "gpu": "device",
    "workers": "num_workers",
}
"""Names of options in other bundles and tools that are not spelt like those here."""


EXPRESSION_OF_ONE = f"{ConfigExpression.prefix}{ReferenceResolver.ref}"
"""Beginning of an expression that is only a reference."""


def refuse_unknown_keys(
    parser: ConfigParser, *, shipped: dict[str, Any], ids: Set[str] = frozenset(), listed_in: str = "its file"
) -> None:
    """Refuse keys that no part of a configuration reads, wherever they came from (command line, files, Python).

    A key of the outermost level is known where another part of the configuration refers to it, where it can be run (a
    list of expressions), or where MONAI reads it. A key within a component is known where the class takes an argument
    of that name; one within a plain dictionary, where the bundle's own file has it or another part refers to it.

    Args:
        parser: parser of the configuration to run.
        shipped: the bundle's own file of this workflow, as it is on disk.
        ids: names that the workflow runs (``run_id`` and others).
        listed_in: name of the file, for the message.

    Raises:
        InputError: one line with every unknown key and the nearest known one.
    """
    config = parser.get()
    referred = {*references(config), *references(shipped)}  # an override may leave an option without a reader
    heads = {reference.split(ID_SEP_KEY)[0] for reference in referred}
    known = heads | ids | {"imports", "bundle_root", "initialize", "run", "finalize"}
    outermost = [key for key in config if key not in known and not key.startswith("_") and not can_be_run(config[key])]
    unknown = [(key, _nearest(key, known & config.keys())) for key in outermost]
    for key in config.keys() & shipped.keys():
        unknown += _unknown_within(parser, config[key], shipped[key], place=key, referred=referred)
    if unknown:
        listed = " and ".join(f"--{key}" + (f" (did you mean --{near}?)" if near else "") for key, near in unknown)
        hint = "" if all(near for _, near in unknown) else f"; the options are listed at the top of {listed_in}"
        raise InputError(f"unknown option{'s' if len(unknown) > 1 else ''} {listed}{hint}")


def references(config: Any) -> Iterator[str]:
    """Every id that the strings of a configuration refer to, with the ids that it lies in."""
    if isinstance(config, str):
        for reference in ReferenceResolver.match_refs_pattern(config):
            parts = reference.split(ID_SEP_KEY)
            yield from (ID_SEP_KEY.join(parts[: count + 1]) for count in range(len(parts)))
    elif isinstance(config, dict | list):
        for _, _, part in ReferenceResolver.iter_subconfigs(id="", config=config):
            yield from references(part)


def can_be_run(value: Any) -> bool:
    """Whether an entry is a list of expressions, at any depth, which MONAI runs by its name."""
    if isinstance(value, list) and value:
        return all(can_be_run(item) or ConfigExpression.is_expression(item) for item in value)
    return False


def _unknown_within(
    parser: ConfigParser, given: Any, shipped: Any, *, place: str, referred: Set[str]
) -> Iterator[tuple[str, str]]:
    """Unknown keys inside of one entry, each with the nearest known one."""
    if isinstance(given, dict) and isinstance(shipped, dict):
        added = {key for key in given.keys() - shipped.keys() if f"{place}{ID_SEP_KEY}{key}" not in referred}
        if added:
            arguments = _arguments(parser, given)
            known = shipped.keys() | arguments if arguments is not None else given.keys()
            for key in sorted(added - known):
                near = _nearest(key, known)
                yield _written(place, key), _written(place, near) if near else ""
        for key in given.keys() & shipped.keys():
            child = f"{place}{ID_SEP_KEY}{key}"
            yield from _unknown_within(parser, given[key], shipped[key], place=child, referred=referred)
    elif isinstance(given, list) and isinstance(shipped, list):
        for index, (one, other) in enumerate(zip(given, shipped, strict=False)):
            child = f"{place}{ID_SEP_KEY}{index}"
            yield from _unknown_within(parser, one, other, place=child, referred=referred)
    elif isinstance(shipped, dict) and _is_plain_value(given):
        near = OTHER_NAMES.get(place)
        raise InputError(
            f"--{_written(place)} names a part of the configuration, not an option that takes a value, got {given!r}"
            + (f" (did you mean --{near}?)" if near else "")
        )


def _is_plain_value(given: Any) -> bool:
    """Whether something is text or a number that says nothing about what to build."""
    if isinstance(given, str):
        return not ConfigExpression.is_expression(given) and not given.startswith(ReferenceResolver.ref)
    return isinstance(given, bool | int | float)


def _arguments(parser: ConfigParser, component: dict[str, Any]) -> set[str] | None:
    """The names that a component may hold; none for a plain dictionary, None where its class is not found."""
    if not ConfigComponent.is_instantiable(component):
        return set()
    shared = str(component["_target_"]).removeprefix(EXPRESSION_OF_ONE)
    if shared != component["_target_"] and shared in parser:  # a component that others are built on
        return _arguments(parser, parser[shared])
    target = ConfigComponent(config=component, id="", locator=parser.locator).resolve_module_name()
    target = locate(target) if isinstance(target, str) else target
    if target is None:
        return None
    classes = target.__mro__ if inspect.isclass(target) else (target,)
    own = {"_target_", "_disabled_", "_requires_", "_desc_", "_mode_"}
    for one in classes:
        called = cast(Callable[..., Any], one.__init__ if inspect.isclass(one) else one)
        parameters = inspect.signature(called).parameters.values()
        own |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
    return own - {"self", "args"}


def _nearest(key: str, known: Set[str]) -> str:
    other = OTHER_NAMES.get(key, "")
    return other if other in known else next(iter(difflib.get_close_matches(key, sorted(known), n=1)), "")


def _written(*parts: str) -> str:
    """An id as a command line has it."""
    return "#".join(parts).replace(ID_SEP_KEY, "#")
