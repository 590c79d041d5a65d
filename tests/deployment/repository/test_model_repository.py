"""The committed templates and what the export makes of them."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from pathlib import Path

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from lung_nodule import core
from lung_nodule.deployment.repository.model_repository import (
    STEPS as STEP_FILES,
)
from lung_nodule.deployment.repository.model_repository import (
    TEMPLATES,
    copy_core,
    read_config,
    replace_models,
    roll_back,
    template_models,
    without_patients,
    write_config,
)
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256

NETS = ("mtnet_coarse", "mtnet_fine", "mtnet_classifier")
STEPS = ("mtnet_preprocess", "mtnet_postprocess")
MODELS = ("mtnet", *NETS, *STEPS)


def _shapes(config: ModelConfig) -> dict[str, list[int]]:
    return {tensor.name: list(tensor.dims) for tensor in (*config.input, *config.output)}


@pytest.mark.parametrize("name", MODELS)
def test_templates_are_model_configs(name: str) -> None:
    config = read_config(TEMPLATES / name / "config.pbtxt")
    assert config.name == name
    assert config.input
    assert config.output


def test_mtnet_has_exactly_its_six_models() -> None:
    assert sorted(folder.name for folder in template_models("mtnet")) == sorted(MODELS)


def test_the_bounds_on_slices_agree() -> None:
    limit = int(read_config(TEMPLATES / "mtnet_preprocess" / "config.pbtxt").parameters["max_slices"].string_value)
    assert {read_config(TEMPLATES / name / "config.pbtxt").max_batch_size for name in NETS} == {4 * limit}


def test_every_output_of_the_ensemble_is_terminal() -> None:
    """An output that a later step consumes too deadlocks when a client asks for a subset of the outputs."""
    config = read_config(TEMPLATES / "mtnet" / "config.pbtxt")
    consumed = {tensor for step in config.ensemble_scheduling.step for tensor in step.input_map.values()}
    assert not consumed & {tensor.name for tensor in config.output}


def test_the_ensemble_names_the_tensors_of_its_steps() -> None:
    for step in read_config(TEMPLATES / "mtnet" / "config.pbtxt").ensemble_scheduling.step:
        config = read_config(TEMPLATES / step.model_name / "config.pbtxt")
        assert set(step.input_map) == {tensor.name for tensor in config.input}
        assert set(step.output_map) == {tensor.name for tensor in config.output}


@pytest.mark.parametrize("path", sorted(STEP_FILES.glob("*.py")), ids=lambda path: path.stem)
def test_steps_import_the_core_and_numpy_alone(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names} if node.module == "lung_nodule" else {node.module}
            imported |= {str(name).split(".")[0] for name in names}
    known = {"numpy", "triton_python_backend_utils", "core", "served_view", "step_errors"}
    assert imported - set(sys.stdlib_module_names) <= known


@pytest.mark.parametrize("name", STEPS)
def test_the_steps_carry_the_core_unchanged(name: str, repository: Path) -> None:
    source = Path(core.__file__).parent
    copy = repository / name / "1" / "lung_nodule"

    def hashes(folder: Path) -> dict[str, str]:
        files = folder.rglob("*.py")
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert "views/slices.py" in hashes(source)
    assert hashes(copy / "core") == hashes(source)
    for module in ("lidc.py", "errors.py"):
        assert (copy / module).read_bytes() == (source.parent / module).read_bytes()
    assert (copy / "__init__.py").read_text() == ""


def test_a_step_takes_nothing_else_of_the_library(tmp_path: Path) -> None:
    """Written here, where nothing was served: Triton's stub leaves its bytecode in the folders that it serves."""
    copy_core(tmp_path)
    assert {path.name for path in (tmp_path / "lung_nodule").iterdir()} == {
        "__init__.py",
        "core",
        "errors.py",
        "lidc.py",
    }


@pytest.mark.parametrize("name", STEPS)
def test_the_steps_look_as_the_side_file_says_and_name_no_patient(name: str, repository: Path, settings: dict) -> None:
    written = json.loads((repository / name / "1" / "view.json").read_text())
    assert written == {"view": "lung_nodule.core.views.slices:SlicesView", "settings": settings}
    step = name.removeprefix("mtnet_")
    assert (repository / name / "1" / "model.py").read_bytes() == (STEP_FILES / f"{step}.py").read_bytes()


def test_the_export_fills_in_the_checkpoints_settings(repository: Path, bundle: Path) -> None:
    for name in MODELS:
        shapes = _shapes(read_config(repository / name / "config.pbtxt"))
        assert 224 not in {size for shape in shapes.values() for size in shape}
    assert _shapes(read_config(repository / "mtnet_fine" / "config.pbtxt"))["FINE"] == [1, 64, 64]
    parameters = read_config(repository / "mtnet" / "config.pbtxt").parameters
    text = {key: value.string_value for key, value in parameters.items()}
    assert text == {
        "version": "0.0.1",
        "patch_mm": "48.0",
        "z_patch_mm": "40.0",
        "reach_mm": "48.0",
        "image_size": "64",
        "window": "-1000.0 400.0",
        "weights_sha256": file_sha256(bundle / "models" / "model.pt"),
        "engine": "onnxruntime",
        "precision": "fp32",
        "synthetic": "no",
        "patients_seen": "",
        "calibration": "",
    }


def test_the_measured_parity_is_recorded(repository: Path) -> None:
    nets = json.loads((repository / "export_mtnet.json").read_text())["nets"]
    assert set(nets) == set(NETS)
    assert all(0 < net["max_abs_error"] <= net["allowed_error"] <= 1e-4 for net in nets.values())


def test_no_list_of_patients_leaves_the_side_file() -> None:
    settings = {"patients_seen": ["LIDC-IDRI-0003"], "patients_validated": [], "fold": 0}
    assert without_patients(settings) == {"fold": 0}


def test_configs_survive_writing_and_reading(tmp_path: Path) -> None:
    config = read_config(TEMPLATES / "mtnet" / "config.pbtxt")
    write_config(tmp_path / "config.pbtxt", config)
    assert read_config(tmp_path / "config.pbtxt") == config


def test_an_error_names_the_line_of_a_broken_config(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text('name: "net"\nplattform: "ensemble"\n')
    with pytest.raises(InputError, match=r"2:1.*plattform"):
        read_config(tmp_path / "config.pbtxt")


def test_the_folder_one_stands_in_may_be_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with replace_models(Path("."), "mtnet") as fresh:
        (fresh / "mtnet").mkdir()
    assert (tmp_path / "here" / "mtnet").is_dir()


def test_a_failed_export_leaves_the_repository_as_it_was(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    with replace_models(repository, "mtnet") as fresh:
        (fresh / "mtnet").mkdir()
        (fresh / "export_mtnet.json").write_text("1")

    def fail() -> None:
        with replace_models(repository, "mtnet") as fresh:
            (fresh / "half").mkdir()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert sorted(path.name for path in repository.iterdir()) == ["export_mtnet.json", "mtnet"]
    assert list(tmp_path.iterdir()) == [repository]


def test_an_export_keeps_the_models_of_other_bundles(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for bundle in ("mtnet", "mtcnn"):
        with replace_models(repository, bundle) as fresh:
            assert not (fresh / bundle).exists()
            (fresh / bundle).mkdir()
            (fresh / f"export_{bundle}.json").write_text("1")
    with replace_models(repository, "mtnet"):
        pass
    assert (repository / "mtcnn").is_dir()
    assert not (repository / "mtnet").exists()


def test_an_export_leaves_the_one_into_a_neighbour_alone(tmp_path: Path) -> None:
    killed = tmp_path / ".models.0123abcd.new"
    killed.mkdir()
    with replace_models(tmp_path / "models.gpu", "mtcnn") as neighbour:
        (neighbour / "mtcnn").mkdir()
        with replace_models(tmp_path / "models", "mtnet") as fresh:
            (fresh / "mtnet").mkdir()
    assert (tmp_path / "models.gpu" / "mtcnn").is_dir()
    assert (tmp_path / "models" / "mtnet").is_dir()
    assert not killed.exists(), "of an export that was killed"


def test_an_export_can_be_rolled_back_and_brought_back(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for content in ("first", "second"):
        with replace_models(repository, "mtnet") as fresh:
            (fresh / "mtnet").mkdir()
            (fresh / "export_mtnet.json").write_text(content)
    assert (repository / "export_mtnet.json").read_text() == "second"
    roll_back(repository)
    assert (repository / "export_mtnet.json").read_text() == "first"
    roll_back(repository)
    assert (repository / "export_mtnet.json").read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["repository", "repository.previous"]


def test_one_export_at_a_time(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    with replace_models(repository, "mtnet") as fresh:
        (fresh / "export_mtnet.json").write_text("1")
        busy = pytest.raises(InputError, match=r"another run is writing to .*repository: wait")
        with busy, replace_models(repository, "mtcnn"):
            pass
    with replace_models(repository, "mtcnn") as fresh:
        (fresh / "export_mtcnn.json").write_text("1")
    assert sorted(path.name for path in repository.iterdir()) == ["export_mtcnn.json", "export_mtnet.json"]


def test_nothing_to_roll_back_to_is_said(tmp_path: Path) -> None:
    with replace_models(tmp_path / "repository", "mtnet") as fresh:
        (fresh / "export_mtnet.json").write_text("1")
    with pytest.raises(InputError, match=r"repository\.previous does not exist"):
        roll_back(tmp_path / "repository")


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="other files"), replace_models(tmp_path, "mtnet"):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_the_copy_of_a_killed_export_is_removed_by_the_next(tmp_path: Path) -> None:
    repository, left = tmp_path / "repository", tmp_path / ".repository.0123abcd.new"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"half")
    with replace_models(repository, "mtnet") as fresh:
        (fresh / "mtnet").mkdir()
    assert not left.exists()
    assert (repository / "mtnet").is_dir()
