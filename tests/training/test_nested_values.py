"""Nested values that are not those of a bundle's own file: an option's are refused, the others known."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from lung_nodule.errors import InputError
from lung_nodule.training.options.nested_values import (
    FILE_OPTIONS,
    LENGTH,
    WORK_OPTIONS,
    changes,
    overrides,
    refuse_values_of_options,
    shipped_config,
)
from lung_nodule.training.options.option_table import OF_BUNDLE, kinds_of

ROOT = Path(__file__).parents[2]
SHIPPED = {bundle: shipped_config(ROOT / "bundles" / bundle) for bundle in OF_BUNDLE}


def leaves(config: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, dict | list):
        for key, value in config.items() if isinstance(config, dict) else enumerate(config):
            yield from leaves(value, f"{place}#{key}" if place else str(key))
    else:
        yield place, config


def changed(bundle: str, place: str, value: Any) -> dict[str, Any]:
    parser = ConfigParser(copy.deepcopy(SHIPPED[bundle]))
    parser[place] = value
    return parser.get()


def overridden(bundle: str, config: dict[str, Any]) -> dict[str, Any]:
    return overrides(config, SHIPPED[bundle], options=kinds_of(bundle, "train").keys(), left_out=set())


def refuse(bundle: str, config: dict[str, Any], *allowed: str) -> None:
    refuse_values_of_options(config, SHIPPED[bundle], options=kinds_of(bundle, "train").keys(), allowed=allowed)


@pytest.mark.parametrize("bundle", OF_BUNDLE)
def test_the_own_file_and_its_overlays_override_nothing(bundle: str) -> None:
    """Those for several processes and the recommended settings."""
    configs = ROOT / "bundles" / bundle / "configs"
    for overlays in ([], ["multi_gpu_train"], ["recommended"], ["recommended", "multi_gpu_train"]):
        files = [str(configs / f"{name}.json") for name in ("train", *overlays)]
        parser = ConfigParser(ConfigParser.load_config_files(files))
        parser.resolve_macro_and_relative_ids()
        refuse(bundle, parser.get())
        assert overridden(bundle, parser.get()) == {}


@pytest.mark.parametrize("bundle", OF_BUNDLE)
def test_every_value_that_is_an_options_is_refused_by_its_name(bundle: str) -> None:
    options = kinds_of(bundle, "train").keys() - FILE_OPTIONS - WORK_OPTIONS
    fed = {
        place: value[1:]
        for place, value in leaves(SHIPPED[bundle])
        if "#" in place and isinstance(value, str) and value.startswith("@") and value[1:] in options
    }
    assert len(fed) > 20
    for place in fed.keys() - {LENGTH}:
        with pytest.raises(InputError, match=f"^--{place} is set by --{fed[place]}: use that$"):
            refuse(bundle, changed(bundle, place, 0.123))
    refuse(bundle, changed(bundle, LENGTH, 3))


@pytest.mark.parametrize(
    ("bundle", "place"),
    [
        ("mtnet", "train#dataloader#num_workers"),
        ("mtnet", "nodules#progress"),
        ("mtnet", "stage#device"),
        ("mtmrnet", "train#directory"),
        ("mtcnn", "validate#dataset#cache_rate"),
        ("e2emtl", "train#stage#device"),
    ],
)
def test_how_the_work_is_done_is_neither_refused_nor_known(bundle: str, place: str) -> None:
    config = changed(bundle, place, "other")
    refuse(bundle, config)
    assert overridden(bundle, config) == {}


@pytest.mark.parametrize(
    ("bundle", "place", "value"),
    [
        ("mtmrnet", "train#lr_scheduler#gamma", 0.5),
        ("mtnet", "segmentation#loss#_target_", "monai.losses.DiceLoss"),
        ("mtnet", "coarse#val_interval", 2),
        ("mtnet", "augment#transforms#4#min_zoom", 0.5),
        ("e2emtl", "train#dataset#slices_per_nodule", 2),
        ("e2emtl", "train#handlers", [{"_target_": "StatsHandler"}]),
        ("e2emtl", "memory_format", "$torch.contiguous_format"),
        ("mtcnn", "train#loss", "$my.loss(@alpha)"),
    ],
)
def test_other_values_are_known_by_their_id(bundle: str, place: str, value: Any) -> None:
    config = changed(bundle, place, value)
    refuse(bundle, config)
    assert overridden(bundle, config) == {place: value}


def test_a_users_own_entry_is_known_with_what_refers_to_it() -> None:
    config = {**changed("mtmrnet", "train#lr_scheduler#gamma", "@my#factor"), "my": {"factor": 0.5}, "_note": "text"}
    assert overridden("mtmrnet", config) == {"my": {"factor": 0.5}, "train#lr_scheduler#gamma": "@my::factor"}


def test_a_list_of_other_parts_is_known_as_a_whole() -> None:
    given, shipped = ({"a": [{"_target_": target, "b": 1}]} for target in ("One", "Other"))
    assert [change.place for change in changes(given, shipped)] == ["a"]
    assert [change.place for change in changes({"a": [1, 2]}, {"a": [1, 3]})] == ["a#1"]
    assert [change.place for change in changes({"a": [1, 2]}, {"a": [1]})] == ["a"]
    assert not list(changes({"a": (1, 2)}, {"a": [1, 2]}))


def test_an_object_is_known_by_its_class() -> None:
    config = changed("mtnet", "train#handlers", [object()])
    assert overridden("mtnet", config) == {"train#handlers": ["builtins.object"]}


def test_an_entry_may_be_allowed() -> None:
    config = changed("mtnet", "network_def#width", 0.125)
    refuse("mtnet", config, "network_def")
    with pytest.raises(InputError, match="--network_def#width is set by --width"):
        refuse("mtnet", config)


def test_a_bundle_without_its_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name the bundle's folder with --bundle_root"):
        shipped_config(tmp_path)
