"""The table of methods, and the bundles' configurations beside it."""

from __future__ import annotations

import json
from pathlib import Path
from pydoc import locate

import pytest

from lung_nodule.methods import METHODS, Method, register

BUNDLES = Path(__file__).parents[2] / "bundles"


def config(bundle: str, name: str) -> dict:
    return json.loads((BUNDLES / bundle / "configs" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", METHODS)
def test_a_bundles_configurations_name_what_the_table_names(name: str) -> None:
    method, train = METHODS[name], config(name, "train")
    assert train["settings"]["bundle"] == name
    assert locate(train["network_def"]["_target_"]) is method.network
    assert locate(train["nodule_view"]["_target_"]) is method.view
    for workflow in ("evaluate", "inference"):
        written = config(name, workflow)
        assert locate(written["network_def"]["_target_"]) is method.predictor
        assert written["nodule_view"].startswith(f"$lung_nodule.core.{method.view.__name__}.from_settings(@settings")
        assert written["postprocessing"]["view"] == written["view"]["view"] == "@nodule_view"


@pytest.mark.parametrize("name", METHODS)
def test_a_predictor_is_its_network_with_one_tensor(name: str) -> None:
    method = METHODS[name]
    assert issubclass(method.predictor, method.network)
    assert set(method.published) == set(config(name, "train")["settings"]["network"])


def test_a_name_is_given_once() -> None:
    register(METHODS["mtcnn"])
    other = METHODS["mtmrnet"]
    with pytest.raises(ValueError, match="there is a method 'mtcnn' already"):
        register(Method("mtcnn", other.network, other.predictor, other.view))
