"""What holds for every bundle; a subclass names the bundle and what is its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.transforms import Compose
from PIL import Image

from ci.bundle_tools.archive import write_package
from ci.bundle_tools.checks import CHECKS
from lung_nodule.errors import CheckpointError, InputError, user_error
from lung_nodule.io import read_nifti
from lung_nodule.methods import load_network
from tests.bundles.unzipped import train_evaluate_and_infer_alone, unzipped
from tests.forked import interpreter, run_module, run_on_two_ranks, run_python
from tests.slow import slow_except
from tests.user_ct import CENTERS, DIAMETERS, FLIPPED, write_centers, write_centers_dataset, write_ct

ROOT = Path(__file__).parents[2]
TIGHTER_CROP_BOUND = 0.05  # of a probability
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # on one thread, so that no figure depends on their number
CROPS = {"lung_nodule.data.RandCropMargin", "lung_nodule.data.RandPadParenchyma", "lung_nodule.data.RandCropVariant"}


def _targets(config: object, names: set[str], place: str = "") -> Iterator[str]:
    """Where in a config, in its order, an object of one of these classes stands."""
    if isinstance(config, dict) and config.get("_target_") in names:
        yield place
    children = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in children:
        yield from _targets(value, names, f"{place}::{key}" if place else str(key))


def _arguments(options: Mapping[str, object]) -> list[str]:
    return [part for key, value in options.items() for part in (f"--{key}", str(value))]


def _without(nodule: str, table: Path) -> str:
    """A table without a nodule's row, its other figures to the digit."""
    return "".join(row for row in table.read_text().splitlines(keepends=True) if not row.startswith(f"{nodule},"))


class BundleContract:
    """Runs a bundle as a user does, small, on painted nodules."""

    name: ClassVar[str]
    small: ClassVar[dict[str, object]]  # overrides that make it small
    on_request: ClassVar[dict[str, object]] = {}  # options of inference that write more, and the files they write
    requested: ClassVar[tuple[str, ...]] = ()
    segments: ClassVar[bool] = True
    columns: ClassVar[set[str]]  # what its predictions.csv holds
    needed_column: ClassVar[str] = "malignancy_mean"  # of nodules.csv, without which it cannot be trained

    @property
    def configs(self) -> Path:
        return ROOT / "bundles" / self.name / "configs"

    def run(self, run_id: str, config: str, *, dataset: Path, output: Path, **options: object) -> str:
        """``python -m monai.bundle run`` from the repository's root; its output, which must end well."""
        ended = self.attempt(run_id, config, dataset_dir=dataset, output_dir=output, **options)
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
        return ended.stdout + ended.stderr

    def attempt(self, run_id: str, config: str, **options: object) -> subprocess.CompletedProcess[str]:
        file = f"bundles/{self.name}/configs/{config}.json"
        return run_module(
            "monai.bundle", ["run", run_id, "--config_file", file, *_arguments(options)],
            folder=ROOT, environment=ENVIRONMENT,
        )  # fmt: skip

    def run_on_two(self, run_id: str, config: str, *, dataset: Path, output: Path, **options: object) -> str:
        """The same with the multi-GPU overlay, by ``torchrun`` in two processes and by gloo on the CPU."""
        command = ["--standalone", "--nproc_per_node=2"]
        command += self._on_two(run_id, config, {"dataset_dir": dataset, "output_dir": output, **options})
        environment = {**ENVIRONMENT, "PYTHON_EXEC": interpreter()}  # what torchrun starts
        ended = run_module("torch.distributed.run", command, folder=ROOT, environment=environment)
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
        return ended.stdout + ended.stderr

    def run_on_two_ranks(self, run_id: str, config: str, *, dataset: Path, output: Path, **options: object) -> None:
        """The same in two processes without ``torchrun``."""
        command = self._on_two(run_id, config, {"dataset_dir": dataset, "output_dir": output, **options})
        for ended in run_on_two_ranks(command, folder=ROOT, environment=ENVIRONMENT):
            assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]

    def _on_two(self, run_id: str, config: str, options: Mapping[str, object]) -> list[str]:
        files = [f"bundles/{self.name}/configs/{name}.json" for name in (config, f"multi_gpu_{config}")]
        command = ["-m", "monai.bundle", "run", run_id, "--config_file", str(files)]
        return [*command, *_arguments({"device": "cpu", **options})]

    @pytest.fixture(scope="class")
    def trained(self, painted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The output folder of one whole training."""
        output = tmp_path_factory.mktemp(self.name)
        self.run("training", "train", dataset=painted, output=output, **self.small)
        return output

    def test_training_leaves_a_model_with_its_settings(self, trained: Path) -> None:
        settings = json.loads((trained / "model.json").read_text())
        assert (trained / "model.pt").is_file()
        assert settings["bundle"] == self.name
        assert settings["network"]["width"] == self.small["width"]
        assert list(trained.rglob("events.out.tfevents*"))

    @pytest.fixture(scope="class")
    def evaluated(self, trained: Path, painted: Path) -> Path:
        """The trained model's evaluation of fold 0."""
        self.run("evaluating", "evaluate", dataset=painted, output=trained, device="cpu")
        return trained / "evaluation"

    @pytest.fixture(scope="class")
    def inferred(self, trained: Path, painted: Path) -> Path:
        """What the trained model's inference wrote about the nodules of fold 0."""
        self.run("inferring", "inference", dataset=painted, output=trained, folds="[0]")
        return trained / "inference"

    def test_evaluation_writes_metrics_and_predictions(self, evaluated: Path) -> None:
        metrics = json.loads((evaluated / "metrics.json").read_text())
        predictions = pd.read_csv(evaluated / "predictions.csv")
        assert set(predictions["patient_id"]) == {"SYN-0000", "SYN-0005"}  # fold 0 and nothing else
        assert predictions["nodule_id"].is_unique
        assert self.columns <= set(predictions.columns)
        assert predictions["malignancy_prob"].between(0, 1).all()
        assert metrics["dataset"]["synthetic"] is True
        assert metrics["counts"]["nodules"] == len(predictions) == 4

    @pytest.mark.slow
    def test_two_processes_evaluate_as_one(self, trained: Path, evaluated: Path, painted: Path, tmp_path: Path) -> None:
        """Three nodules on two ranks, of which one has a nodule less: their rows are those that one process wrote."""
        odd, out = shutil.copytree(painted, tmp_path / "odd"), tmp_path / "out"
        (odd / "nodules.csv").write_text(_without("SYN-0005_a0010", painted / "nodules.csv"))
        self.run_on_two_ranks("evaluating", "evaluate", dataset=odd, output=trained, results_dir=out)
        written = (out / "predictions.csv").read_text()
        assert len(written.splitlines()) == 1 + 3
        assert written == _without("SYN-0005_a0010", evaluated / "predictions.csv")

    @pytest.mark.long
    def test_two_processes_train_what_one_evaluates(self, painted: Path, tmp_path: Path) -> None:
        """The read-out is fitted on both ranks' validation nodules, and joins what evaluation says."""
        options = {**self.small, "readout_features": ["logit"]}
        self.run_on_two("training", "train", dataset=painted, output=tmp_path, **options)
        self.run("evaluating", "evaluate", dataset=painted, output=tmp_path)
        table = pd.read_csv(tmp_path / "evaluation" / "predictions.csv")
        assert len(table) == 4
        readout = json.loads((tmp_path / "model.json").read_text())["readout"]
        assert readout["nodules"] == 4
        logits = np.log(table["network_prob"] / (1 - table["network_prob"]))
        weight, intercept = (
            readout["outputs"]["malignancy"]["weights"]["logit"],
            readout["outputs"]["malignancy"]["intercept"],
        )
        joined = intercept + weight * (logits - readout["mean"]["logit"]) / readout["deviation"]["logit"]
        np.testing.assert_allclose(table["malignancy_prob"], 1 / (1 + np.exp(-joined)), atol=2e-3)

    @pytest.mark.long
    def test_its_package_runs_alone(self, painted: Path, tmp_path: Path) -> None:
        path, _ = write_package(self.configs.parent, tmp_path / "zip")
        package = unzipped(path, tmp_path / "unzipped")
        train_evaluate_and_infer_alone(package, dataset=painted, small=self.small, inference=self.on_request)
        for picture in self.requested:
            assert list((package / "out").rglob(picture)), f"no {picture}"
        for results in ("evaluation", "inference"):
            assert len(pd.read_csv(package / "out" / results / "predictions.csv")) == 4

    def test_inference_writes_scores(self, inferred: Path, evaluated: Path) -> None:
        own = pd.read_csv(inferred / "predictions.csv")
        assert len(own) == 4
        both = own.merge(pd.read_csv(evaluated / "predictions.csv"), on="nodule_id", suffixes=("", "_evaluated"))
        assert len(both) == 4
        assert (both["malignancy_prob"] - both["malignancy_prob_evaluated"]).abs().max() < 1e-5

    @pytest.fixture(scope="class")
    def answered(self, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder with a CT, a table and what inference wrote about them into ``out``."""
        folder = tmp_path_factory.mktemp("user")
        ct = write_ct(folder / "scan.nii.gz", FLIPPED)
        nodules = write_centers(folder / "table.csv", diameter_mm=DIAMETERS)
        options = {"output_dir": trained, "results_dir": folder / "out", "nodules": nodules, "ct": ct}
        ended = self.attempt("inferring", "inference", **options)
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
        return folder

    def test_inference_answers_for_a_users_ct(self, answered: Path) -> None:
        """From a CT and centres alone: no masks, ratings, folds; masks on the CT's own grid."""
        table = pd.read_csv(answered / "out" / "nodules.csv")
        assert table["nodule_id"].tolist() == ["nodule_0", "nodule_1"]
        assert table["malignancy_prob"].between(0, 1).all()
        np.testing.assert_allclose(table[["center_x_ras", "center_y_ras", "center_z_ras"]], CENTERS, atol=1e-6)
        predicted = {column for column in self.columns if column.endswith(("_pred", "_prob"))}
        assert predicted <= set(table.columns)
        written = {path.relative_to(answered / "out").as_posix() for path in (answered / "out").rglob("*.nii.gz")}
        if not self.segments:
            assert written == set()
            return
        assert written == {"masks/nodule_0.nii.gz", "masks/nodule_1.nii.gz", "nodules.nii.gz"}
        ct, labels = (read_nifti(answered / name) for name in ("scan.nii.gz", "out/nodules.nii.gz"))
        for row in table.itertuples():
            mask = read_nifti(answered / "out" / row.mask)
            assert mask.shape == labels.shape == ct.shape
            np.testing.assert_allclose(mask.affine, ct.affine, atol=1e-5)
            assert row.volume_mm3 == pytest.approx(mask.data.sum() * np.prod(ct.spacing), rel=1e-5)
            assert not (labels.data[mask.data == 0] == row.label).any()

    def test_its_masks_lie_where_its_maps_say(self, answered: Path, trained: Path, tmp_path: Path) -> None:
        """The whole CT as a dataset's VOI: the same score, and the same mask in the world."""
        write_centers_dataset(tmp_path / "dataset", answered / "scan.nii.gz")
        options = {"output_dir": trained, "results_dir": tmp_path / "out", "dataset_dir": tmp_path / "dataset"}
        ended = self.attempt("inferring", "inference", folds="[0]", **options)
        assert ended.returncode == 0, ended.stderr[-4000:]
        of_dataset = pd.read_csv(tmp_path / "out" / "predictions.csv")
        of_ct = pd.read_csv(answered / "out" / "nodules.csv")
        assert (of_dataset["malignancy_prob"] - of_ct["malignancy_prob"]).abs().max() < 1e-4
        for nodule in of_ct["nodule_id"] if self.segments else ():
            expected = read_nifti(tmp_path / "out" / f"{nodule}_mask.nii.gz").canonical()
            mask = read_nifti(answered / "out" / "masks" / f"{nodule}.nii.gz").canonical()
            np.testing.assert_allclose(mask.affine, expected.affine, atol=1e-4)
            assert (mask.data != expected.data).mean() < 1e-5

    @pytest.mark.slow
    def test_its_example_runs_from_any_folder(self, answered: Path, trained: Path, tmp_path: Path) -> None:
        """As a script; the nodule that it predicts step by step gets the answer that the whole run wrote."""
        command = [str(ROOT / "docs" / "examples" / f"{self.name}.py"), "--out", "out"]
        command += ["--ct", str(answered / "scan.nii.gz"), "--nodules", str(answered / "table.csv")]
        command += ["--model_path", str(trained / "model.pt"), "--device", "cpu"]
        ended = run_python(command, folder=tmp_path, environment=ENVIRONMENT)
        assert ended.returncode == 0, ended.stderr[-4000:]
        table = pd.read_csv(tmp_path / "out" / "nodules.csv")
        columns = ["nodule_id", "malignancy_prob"]
        pd.testing.assert_frame_equal(table[columns], pd.read_csv(answered / "out" / "nodules.csv")[columns], atol=1e-5)
        (said,) = re.findall(r"nodule_0: malignancy ([\d.]+); see out/", ended.stdout + ended.stderr)
        assert float(said) == pytest.approx(table["malignancy_prob"][0], abs=1e-5)
        with Image.open(tmp_path / "out" / f"{self.name}.png") as picture:
            grey = np.asarray(picture.convert("L"), dtype=float)
        assert grey.std() > 20
        assert {path.name for path in tmp_path.iterdir()} == {"out"}
        command[command.index("--model_path") + 1] = "none.pt"
        refused = run_python(command, folder=tmp_path, environment=ENVIRONMENT)
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
        assert refused.stderr.splitlines()[-1].startswith("error: ")
        assert "none.pt" in refused.stderr.splitlines()[-1]

    def test_a_users_mistake_is_one_line_before_a_network_is_built(self, trained: Path, tmp_path: Path) -> None:
        """The weights of this folder cannot be read, which would be said as soon as a network is built."""
        shutil.copy(trained / "model.json", tmp_path)
        (tmp_path / "model.pt").write_bytes(b"no weights")
        ct, far = write_ct(tmp_path / "scan.nii.gz"), np.array([[500.0, 0.0, 0.0]])
        table = write_centers(tmp_path / "n.csv", far, diameter_mm=9.0)
        for options, message in (
            ({"nodules": table, "ct": ct}, "lies outside the CT"),
            ({"ct": ct}, "needs --nodules TABLE"),
            ({"nodules": table, "ct": tmp_path / "absent"}, "--ct: no such file or folder"),
        ):
            parser = ConfigParser()
            parser.read_config(self.configs / "inference.json")
            given = {key: str(value) for key, value in options.items()}
            parser.update({**given, "output_dir": str(tmp_path), "model_path": str(tmp_path / "model.pt")})
            parser["start"] = ["%initialize", "%inferring"]
            with pytest.raises(RuntimeError) as raised:
                parser.get_parsed_content("start")
            cause = user_error(raised.value)
            assert isinstance(cause, InputError), raised.value
            assert message in str(cause)
        assert not (tmp_path / "inference").exists()

    @pytest.mark.slow
    def test_a_tighter_crop_moves_a_prediction_little(
        self, trained: Path, evaluated: Path, painted: Path, tmp_path: Path
    ) -> None:
        """Input contract (c): cut to 6 mm around the nodule, the same nodule keeps its score within the bound."""
        tight = tmp_path / "tight"
        self.run("evaluating", "evaluate", dataset=painted, output=trained, results_dir=tight, crop_margin_mm=6.0)
        tables = [pd.read_csv(folder / "predictions.csv") for folder in (evaluated, tight)]
        assert tables[0]["nodule_id"].tolist() == tables[1]["nodule_id"].tolist()
        scores = [table["malignancy_prob"] for table in tables]
        assert json.loads((tight / "metrics.json").read_text())["settings"]["crop_margin_mm"] == 6.0
        assert (scores[0] - scores[1]).abs().max() < TIGHTER_CROP_BOUND

    def test_an_evaluation_moves_the_centres(self, trained: Path, painted: Path) -> None:
        """And its dataset shows the network another image of the same nodule."""
        shown = []
        for error in (0.0, 3.0):
            options = {"dataset_dir": painted, "output_dir": trained, "device": "cpu"}
            parser = ConfigParser()
            parser.read_config(self.configs / "evaluate.json")
            parser.update({**{key: str(value) for key, value in options.items()}, "center_error_mm": error})
            parser.get_parsed_content("initialize")
            shown.append(parser.get_parsed_content("dataset")[0])
        assert shown[0]["nodule_id"] == shown[1]["nodule_id"]
        assert shown[0]["image"].shape[0] == shown[1]["image"].shape[0]
        assert not np.array_equal(shown[0]["image"][..., :8, :8], shown[1]["image"][..., :8, :8])

    def test_training_tightens_and_loosens_crops(self) -> None:
        """Input contract (b): as `train.json` stands, some crops of a nodule are smaller than its VOI, some larger."""
        parser = ConfigParser()
        parser.read_config(self.configs / "train.json")
        vary = Compose([parser.get_parsed_content(place) for place in _targets(parser.config, CROPS)])
        vary.set_random_state(seed=0)
        mask = np.zeros((40, 40, 20), dtype=np.uint8)
        mask[16:24, 16:24, 8:12] = 1
        voi = {"ct": np.full(mask.shape, -850, dtype=np.int16), "mask": mask, "spacing": np.ones(3, dtype=np.float32)}
        crops = [vary({**voi, "nodule_id": f"n{i}", "center": np.array([19.5, 19.5, 9.5])}) for i in range(40)]
        areas = [np.prod(crop["ct"].shape[:2]) for crop in crops]
        assert min(areas) < 40 * 40 < max(areas)
        assert all(crop["mask"].sum() == mask.sum() for crop in crops)

    def test_a_second_training_repeats_nothing(self, trained: Path, painted: Path) -> None:
        before = (trained / "model.pt").read_bytes()
        said = self.run("training", "train", dataset=painted, output=trained, **self.small)
        assert "resumed after epoch" in said
        assert (trained / "model.pt").read_bytes() == before

    @pytest.mark.slow
    def test_a_finished_training_is_extended(self, trained: Path, painted: Path, tmp_path: Path) -> None:
        """Each stage goes on, or begins again where an earlier one has changed; the side file says how long it was."""
        output = shutil.copytree(trained, tmp_path / "longer")
        before, after = self.small["max_epochs"], self.small["max_epochs"] + 1
        said = self.run("training", "train", dataset=painted, output=output, **{**self.small, "max_epochs": after})
        stages = json.loads((output / "model.json").read_text())["training"]
        assert f"extended from {before} to {after} epochs" in said
        assert stages
        for name, stage in stages.items():
            assert stage["epochs"] == after
            again = f"{output / name}: " in said and list((output / name).glob("upstream_*"))
            assert stage["extended"] == ([] if again else [{"after": before, "from": before, "to": after}])
        fewer = self.attempt(
            "training", "train", dataset_dir=painted, output_dir=output, **{**self.small, "max_epochs": before}
        )
        assert f"has seen {after} epochs, more than the {before} asked for" in fewer.stderr.splitlines()[-1]

    @pytest.mark.slow
    def test_bad_input_ends_in_one_line(self, trained: Path, painted: Path, tmp_path: Path) -> None:
        missing = self.attempt("training", "train", dataset_dir=tmp_path / "none", output_dir=tmp_path)
        untrained = self.attempt("evaluating", "evaluate", dataset_dir=painted, output_dir=tmp_path)
        seen = self.attempt("evaluating", "evaluate", dataset_dir=painted, output_dir=trained, fold=3)
        other = self.attempt(
            "training", "train", dataset_dir=painted, output_dir=trained, **{**self.small, "width": 0.25}
        )
        for ended, message in (
            (missing, "no dataset at"),
            (untrained, "train the bundle first"),
            (seen, "patients to evaluate took part in this model's training (SYN-"),
            (other, "was trained with"),
        ):
            assert ended.returncode != 0
            assert message in ended.stderr.splitlines()[-1]
            assert "Traceback" not in ended.stderr
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("case", ["a column", "a class in training", "a class in validation"])
    def test_a_table_that_lacks_something_is_refused_before_training(
        self, case: str, painted: Path, tmp_path: Path
    ) -> None:
        dataset, out = shutil.copytree(painted, tmp_path / "dataset"), tmp_path / "out"
        table, message = self.lacking(case, pd.read_csv(dataset / "nodules.csv"), painted)
        table.to_csv(dataset / "nodules.csv", index=False)
        parser = ConfigParser()
        parser.read_config(self.configs / "train.json")
        parser.update({**self.small, "dataset_dir": str(dataset), "output_dir": str(out)})
        parser["start"] = ["%initialize", "%training"]
        with pytest.raises(RuntimeError) as raised:
            parser.get_parsed_content("start")
        cause = user_error(raised.value)
        assert isinstance(cause, InputError)
        assert message in str(cause)
        assert not out.exists()

    def lacking(self, case: str, table: pd.DataFrame, painted: Path) -> tuple[pd.DataFrame, str]:
        """The table without a column, or with one class in the training or the validation folds, and the complaint."""
        if case == "a column":
            return table.drop(columns=self.needed_column), f"lacks the column {self.needed_column}"
        folds = [2, 3, 4] if case == "a class in training" else [1]
        of_patients = pd.read_csv(painted / "folds.csv").set_index("patient_id")["fold"]
        changed = table["patient_id"].map(of_patients).isin(folds)
        return table.assign(malignancy_mean=table["malignancy_mean"].mask(changed, 2.0)), "hold only benign nodules"

    def test_weights_of_another_width_are_refused(self, trained: Path, tmp_path: Path) -> None:
        shutil.copy(trained / "model.pt", tmp_path)
        settings = json.loads((trained / "model.json").read_text())
        settings["network"]["width"] *= 2
        (tmp_path / "model.json").write_text(json.dumps(settings))
        with pytest.raises(CheckpointError, match=f"does not hold the weights of {self.name} with .*'width': 0"):
            load_network(tmp_path / "model.pt")

    @pytest.mark.parametrize(("config", "kind"), [("train", "train"), ("inference", "infer"), ("evaluate", "infer")])
    def test_required_properties(self, config: str, kind: str, painted: Path, trained: Path) -> None:
        sizes = {key: self.small[key] for key in ("width", "middle_blocks") if key in self.small and kind == "train"}
        workflow = ConfigWorkflow(
            workflow_type=kind,
            config_file=str(self.configs / f"{config}.json"),
            meta_file=str(self.configs / "metadata.json"),
            logging_file=False,
            dataset_dir=str(painted),
            output_dir=str(trained),
            **sizes,
        )
        workflow.initialize()
        assert not workflow.check_properties()

    @pytest.mark.parametrize(
        "check", slow_except(CHECKS.keys() - {"imports"}, [check for check in CHECKS if check != "code style"])
    )  # the style is that of the one library
    def test_its_files_hold(self, check: str) -> None:
        CHECKS[check](self.configs.parent)
