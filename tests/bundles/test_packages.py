"""Packages: the same bytes again, complete, and running where nothing else of ours is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ci.bundle_tools.archive import LARGEST, requirements_of, write_package
from ci.bundle_tools.checks import CHECKS
from lung_nodule.errors import InputError
from lung_nodule.library_version import LIBRARY, library_version
from tests.bundles import test_mtnet
from tests.bundles.unzipped import run_alone, train_evaluate_and_infer_alone, unzipped
from tests.user_ct import write_centers, write_ct

ROOT = Path(__file__).parents[2]
MTNET = ROOT / "bundles" / "mtnet"
SMALL = test_mtnet.TestMTNet.small


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """mtnet elsewhere, without weights."""
    return Path(shutil.copytree(MTNET, tmp_path / "bundles" / "mtnet", ignore=shutil.ignore_patterns("models")))


@pytest.fixture
def package(copy: Path, tmp_path: Path) -> Path:
    """The root of an unzipped package."""
    path, _ = write_package(copy, tmp_path / "zips")
    return unzipped(path, tmp_path / "unzipped")


def weigh(bundle: Path, size: int) -> None:
    """Weights of some bytes, with a side file."""
    (bundle / "models").mkdir()
    with (bundle / "models" / "model.pt").open("wb") as file:
        file.truncate(size)
    (bundle / "models" / "model.json").write_text("{}")
    (bundle / "models" / "model.onnx").write_text("left out")


def test_the_same_content_gives_the_same_bytes(copy: Path, tmp_path: Path) -> None:
    """From another folder, with other times, permissions and caches."""
    elsewhere = shutil.copytree(LIBRARY, tmp_path / "lung_nodule", ignore=shutil.ignore_patterns("__pycache__"))
    os.utime(copy / "LICENSE", (0, 10**9))
    (copy / "LICENSE").chmod(0o600)
    (copy / "configs" / "__pycache__").mkdir()
    (copy / "configs" / "__pycache__" / "x.pyc").write_text("cache")
    first, _ = write_package(copy, tmp_path / "first")
    (copy / "LICENSE").touch()
    second, _ = write_package(copy, tmp_path / "second", library=elsewhere)
    assert (
        first.name == second.name == f"mtnet_v{json.loads((copy / 'configs/metadata.json').read_text())['version']}.zip"
    )
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)}
    assert len(digests) == 1
    (copy / "LICENSE").write_text("another")
    third, _ = write_package(copy, tmp_path / "third")
    assert hashlib.sha256(third.read_bytes()).hexdigest() not in digests


def test_it_holds_the_bundle_the_library_and_what_they_need(package: Path) -> None:
    metadata = json.loads((package / "configs" / "metadata.json").read_text())
    assert metadata["lung_nodule"] == library_version() == library_version(package / "lung_nodule")
    assert json.loads((package / "lung_nodule" / "LIBRARY_VERSION.json").read_text()) == library_version()
    for path in MTNET.rglob("*"):
        inside = package / path.relative_to(MTNET)
        if path.is_file() and path.name != "metadata.json" and "models" not in path.parts:
            assert inside.read_bytes() == path.read_bytes()
    assert (package / "requirements.txt").read_text() == requirements_of(metadata)
    assert not list(package.rglob("*.pyc"))


def one_bundle_per_requirements() -> list[str]:
    """All bundles pack the same library; only what they require differs."""
    bundles = {}
    for path in sorted(MTNET.parent.iterdir()):
        bundles.setdefault(requirements_of(json.loads((path / "configs" / "metadata.json").read_text())), path.name)
    return list(bundles.values())


@pytest.mark.parametrize("bundle", one_bundle_per_requirements())
def test_every_packed_module_can_be_imported_and_no_other_is_packed(bundle: str, tmp_path: Path) -> None:
    """In a clean process that sees the package and its requirements alone."""
    path, _ = write_package(MTNET.parent / bundle, tmp_path / "zips")
    root = unzipped(path, tmp_path / "unzipped")
    ended = run_alone([str(Path(__file__).with_name("import_all.py"))], root)
    assert ended.returncode == 0, ended.stderr[-2000:]
    modules = set(ended.stdout.split())
    assert {"lung_nodule.core.views.slices", "lung_nodule.training.stage", "lung_nodule.evaluation.rows"} <= modules
    assert not {name for name in modules if name.startswith(("lung_nodule.deployment", "lung_nodule.__main__"))}
    assert not list(root.rglob("*deployment*")) + list(root.rglob("*preprocessing*"))


@pytest.mark.parametrize("check", [check for check in CHECKS if check != "code style"])  # the library's own files
def test_an_unzipped_package_is_a_bundle(package: Path, check: str) -> None:
    CHECKS[check](package)


def test_weights_go_into_it_or_are_named(copy: Path, tmp_path: Path) -> None:
    _, said = write_package(copy, tmp_path / "none")
    assert said.startswith("no weights: copy model.pt and model.json")
    weigh(copy, 1000)
    path, said = write_package(copy, tmp_path / "small")
    assert "weights of 0.0 MB" in said
    assert {file.name for file in (unzipped(path, tmp_path / "a") / "models").iterdir()} == {"model.pt", "model.json"}
    shutil.rmtree(copy / "models")
    weigh(copy, LARGEST + 1)
    with pytest.raises(InputError, match="--weights_url"):
        write_package(copy, tmp_path / "large")
    path, _ = write_package(copy, tmp_path / "large", weights_url="https://example.org/model.pt")
    root = unzipped(path, tmp_path / "b")
    (entry,) = yaml.safe_load((root / "large_files.yml").read_text())["large_files"]
    digest = hashlib.sha256((copy / "models" / "model.pt").read_bytes()).hexdigest()
    assert entry == {
        "path": "models/model.pt", "url": "https://example.org/model.pt", "hash_val": digest, "hash_type": "sha256",
    }  # fmt: skip
    assert {file.name for file in (root / "models").iterdir()} == {"model.json"}
    CHECKS["large files"](root)
    assert "PyYAML==" in (root / "requirements.txt").read_text()  # what MONAI reads the file with


def test_one_address_is_not_that_of_two_bundles(tmp_path: Path) -> None:
    command = [str(ROOT / "ci" / "package_bundles.py"), "mtnet", "mtcnn", "--out", str(tmp_path), "--weights_url", "u"]
    ended = run_alone(command, tmp_path)
    assert ended.returncode != 0
    assert "--weights_url is the address of one bundle's weights, but 2 are to be packaged: name one" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    command = [str(ROOT / "ci" / "package_bundles.py"), "mtnet", "--out", str(tmp_path)]
    ended = run_alone(command, tmp_path)
    (path,) = tmp_path.glob("mtnet_v*.zip")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()[:2] == [str(path), hashlib.sha256(path.read_bytes()).hexdigest()]


def test_under_its_name_in_the_zoo_a_package_is_the_same_bundle(tmp_path: Path) -> None:
    """Its folder has another name than the bundle; its configuration finds it all the same, from the folder above."""
    command = [str(ROOT / "ci" / "package_bundles.py"), "mtcnn", "--out", str(tmp_path), "--zoo_name"]
    assert run_alone(command, tmp_path).returncode == 0
    (path,) = tmp_path.glob("lung_nodule_ct_mtcnn_v*.zip")
    root = unzipped(path, tmp_path / "models")
    assert root.name == "lung_nodule_ct_mtcnn"
    program = "import sys; sys.path.insert(0, 'lung_nodule_ct_mtcnn'); from monai.bundle import ConfigParser; "
    program += "parser = ConfigParser(); parser.read_config('lung_nodule_ct_mtcnn/configs/inference.json'); "
    program += "print(parser.get_parsed_content('bundle_root'), parser.get_parsed_content('network_def').__module__)"
    ended = run_alone(["-c", program], root.parent)
    assert ended.stdout.split()[-2:] == [str(root), "lung_nodule.networks.mtcnn"], ended.stderr[-2000:]


@pytest.mark.slow
def test_it_trains_evaluates_and_infers_alone(package: Path, painted: Path) -> None:
    """With its own library and nothing installed but what its requirements.txt brings."""
    said = train_evaluate_and_infer_alone(package, dataset=painted, small=SMALL)
    assert f"library {package / 'lung_nodule'}" in said
    for results in ("evaluation", "inference"):
        assert len(pd.read_csv(package / "out" / results / "predictions.csv")) == 4
    command = ["-m", "monai.bundle", "run", "inferring", "--config_file", "configs/inference.json"]
    command += ["--output_dir", "out", "--results_dir", "answer", "--ct", str(write_ct(package / "user" / "ct.nii.gz"))]
    command += ["--nodules", str(write_centers(package / "user" / "table.csv"))]
    ended = run_alone(command, package)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert pd.read_csv(package / "answer" / "nodules.csv")["nodule_id"].tolist() == ["nodule_0", "nodule_1"]
    assert len(list((package / "answer" / "masks").iterdir())) == 2


def test_another_packages_library_is_refused(package: Path, tmp_path: Path, painted: Path) -> None:
    """Two packages on one path: the first wins, and its library is another one."""
    other = tmp_path / "other" / "lung_nodule"
    shutil.copytree(package / "lung_nodule", other)
    (other / "core" / "__init__.py").write_text((other / "core" / "__init__.py").read_text() + "\n# newer\n")
    (package / "lung_nodule").rename(package / "lung_nodule_aside")
    command = ["-m", "monai.bundle", "run", "--config_file", "configs/train.json", "--dataset_dir", str(painted)]
    ended = run_alone(command, package, search_path=other.parent)
    assert ended.returncode != 0
    assert "this bundle was packaged with lung_nodule" in ended.stderr.splitlines()[-1]
    assert str(other) in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_its_owner_may_edit_its_library(package: Path, painted: Path) -> None:
    """The edit runs, and a line says that it is one."""
    edited = package / "lung_nodule" / "data" / "datalist.py"
    edited.write_text(edited.read_text() + "\nlogger.info('the owner was here')\n")
    arguments = ["--config_file", "configs/train.json", "--dataset_dir", str(painted), "--width", "0"]
    ended = run_alone(["-m", "monai.bundle", "run", *arguments], package)
    assert "the owner was here" in ended.stdout
    assert f"{package / 'lung_nodule'} was edited after it was packaged" in ended.stdout
    assert "--width must be a number above 0" in ended.stderr.splitlines()[-1]  # past the check of the library


@pytest.mark.long
def test_the_commands_of_the_readme(package: Path, painted: Path) -> None:
    """As a user types them in the package's root."""
    small = [part for key, value in SMALL.items() if key != "device" for part in (f"--{key}", str(value))]
    common = ["--dataset_dir", str(painted), "--output_dir", "out", "--device", "cpu"]
    for arguments in (
        ["--config_file", "configs/train.json", *small],
        ["training", "--config_file", "configs/train.json", *small],
        ["evaluating", "--config_file", "configs/evaluate.json"],
        ["--config_file", "configs/inference.json", "--folds", "[0]"],
    ):
        ended = run_alone(["-m", "monai.bundle", "run", *arguments, *common], package)
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
        assert f"of this package, from {package / 'lung_nodule'}" in ended.stdout
    assert len(pd.read_csv(package / "out" / "inference" / "predictions.csv")) == 4
