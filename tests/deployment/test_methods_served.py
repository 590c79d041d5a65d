"""All methods in one repository: what the export writes, and one real server that answers for all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from pydoc import locate
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from lung_nodule.core import CubeView, nodule_mask, original_scale, size_of
from lung_nodule.deployment.client import PANEL, NoduleClient, request_inputs
from lung_nodule.deployment.report.calibration import Bin, Calibration, calibrations
from lung_nodule.deployment.repository.build_plans import TOLERANCES, compare
from lung_nodule.deployment.repository.engines import model_configs
from lung_nodule.deployment.repository.export import export_bundle
from lung_nodule.deployment.repository.model_repository import TEMPLATES, read_config, template_models, write_config
from lung_nodule.deployment.repository.onnx_files import OPSET, lung_like, noise
from lung_nodule.deployment.repository.precision import cast_file
from lung_nodule.deployment.repository.served import served_nets
from lung_nodule.deployment.server.canary import _entry_models, _values, ask_canary
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES
from lung_nodule.methods import METHODS, load_network, model_settings
from lung_nodule.networks import E2EMTL, MTMRNet, load_weights
from tests.deployment.conftest import ball_voi

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("mtmrnet", "mtcnn", "e2emtl")
SHAPES = {
    "mtmrnet": ([1, 64, 64], [9]),
    "mtcnn": ([9, 32, 32], [9]),
    "e2emtl": ([3, 32, 32, 32], [9, 32, 32, 32]),
}
PUBLISHED = {
    "mtmrnet": ([1, 224, 224], [9]),
    "mtcnn": ([9, 64, 64], [9]),
    "e2emtl": ([3, 64, 64, 64], [9, 64, 64, 64]),
}
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def networks(one_net_bundles: Path) -> dict[str, torch.nn.Module]:
    """Every bundle's network as the predictor that its own inference runs."""
    nets = {
        name: served_nets(METHODS[name], load_network(one_net_bundles / name / "models" / "model.pt"))[f"{name}_net"]
        for name in NAMES
    }
    return {name: net.part for name, net in nets.items()}


def _record(repository: Path, name: str) -> dict:
    return json.loads((repository / f"export_{name}.json").read_text())


def _dims(config) -> list[list[int]]:
    return [list(tensor.dims) for tensor in (*config.input, *config.output)]


def _ask(client: InferenceServerClient, name: str, images: np.ndarray) -> np.ndarray:
    tensor = InferInput("IMAGE", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    return client.infer(f"{name}_net", [tensor], client_timeout=120).as_numpy("PRED")


def test_every_bundle_can_be_exported() -> None:
    assert set(METHODS) == {path.name for path in (ROOT / "bundles").iterdir() if path.is_dir()}
    for name, method in METHODS.items():
        assert {part.model for part in method.served} <= {folder.name for folder in template_models(name)}


@pytest.mark.parametrize("name", NAMES)
def test_the_served_net_answers_as_the_network_that_the_bundle_infers_with(
    name: str, networks: dict, one_net_bundles: Path
) -> None:
    checkpoint = one_net_bundles / name / "models" / "model.pt"
    inference = json.loads((ROOT / "bundles" / name / "configs" / "inference.json").read_text())
    options = model_settings(name, checkpoint)["network"]
    predictor = locate(inference["network_def"]["_target_"])(**options)
    image = torch.rand(2, *SHAPES[name][0])
    with torch.inference_mode():
        expected = load_weights(predictor, checkpoint)(image)
        torch.testing.assert_close(networks[name](image), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_template_shows_the_published_sizes(name: str) -> None:
    config = read_config(TEMPLATES / f"{name}_net" / "config.pbtxt")
    assert _dims(config) == [list(shape) for shape in PUBLISHED[name]]
    assert len(config.parameters["pred_channels"].string_value.split()) == PUBLISHED[name][1][0]


@pytest.mark.parametrize("name", NAMES)
def test_config_and_file_have_the_checkpoints_shapes(name: str, all_repository: Path) -> None:
    assert _dims(read_config(all_repository / f"{name}_net" / "config.pbtxt")) == list(SHAPES[name])
    model = onnx.load(all_repository / f"{name}_net" / "1" / "model.onnx")
    assert {item.domain: item.version for item in model.opset_import} == {"": OPSET}
    tensors = (*model.graph.input, *model.graph.output)
    assert [tensor.name for tensor in tensors] == ["IMAGE", "PRED"]
    for tensor, shape in zip(tensors, SHAPES[name], strict=True):
        batch, *rest = tensor.type.tensor_type.shape.dim
        assert batch.dim_param
        assert [size.dim_value for size in rest] == shape


@pytest.mark.parametrize("name", NAMES)
def test_the_record_tells_what_a_client_needs(name: str, all_repository: Path, one_net_settings: dict) -> None:
    record, settings = _record(all_repository, name), one_net_settings[name]
    client = record["client"]
    assert record["settings"] == settings
    assert (client["window"], client["image_size"]) == (settings["window"], settings["patch"]["image_size"])
    assert len(client["pred_channels"]) == SHAPES[name][1][0]
    assert (
        0
        < record["nets"][f"{name}_net"]["max_abs_error"]
        <= record["nets"][f"{name}_net"]["allowed_error"]
        <= TOLERANCE
    )
    parameters = read_config(all_repository / f"{name}_net" / "config.pbtxt").parameters
    assert set(parameters) - {"cudnn_conv_algo_search"} <= set(client), "what else a net has is of its engine"
    assert parameters["version"].string_value == settings["version"]
    assert [float(edge) for edge in parameters["window"].string_value.split()] == settings["window"]


def test_scales_weights_and_thresholds_stand_in_the_order_of_the_channels(all_repository: Path) -> None:
    slices = _record(all_repository, "mtmrnet")["client"]
    assert slices["pred_channels"][1:] == list(ATTRIBUTES)
    assert slices["attribute_maximum"] == original_scale(np.ones(8)).tolist()
    assert slices["attribute_minimum"] == original_scale(np.zeros(8)).tolist()
    assert slices["square_factor"] == 1.5
    assert _record(all_repository, "mtcnn")["client"]["view_weights"][-1] == 0.17
    cubes = _record(all_repository, "e2emtl")["client"]
    assert dict(zip(cubes["pred_channels"][2:], cubes["attribute_high_from"], strict=True)) == ATTRIBUTE_THRESHOLDS


def test_one_server_holds_every_bundle(panel_server: TritonServer) -> None:
    assert ask_canary(panel_server.grpc_url) == sorted(["mtnet", *NAMES, PANEL])


def test_the_health_check_asks_ensembles_and_nets_that_stand_alone() -> None:
    configs = {path.parent.name: read_config(path) for path in sorted(TEMPLATES.glob("*/config.pbtxt"))}
    assert {config.name for config in _entry_models(list(configs.values()))} == {"mtnet", *NAMES, PANEL}
    asked = {name: _values(config) for name, config in configs.items()}
    assert asked["mtcnn_net"]["IMAGE"].shape == (1, 9, 64, 64)
    assert set(asked["mtnet"]) == {"VOI", "SPACING", "CENTER"}
    assert set(asked["mtmrnet"]) == {"VOI", "SPACING", "CENTER", "DIAMETER"}
    assert asked["mtnet_postprocess"] is None, "its sizes are open"


@pytest.mark.parametrize("draw", [noise, lung_like])
@pytest.mark.parametrize("name", NAMES)
def test_the_server_answers_what_torch_computes(name: str, draw, panel_server: TritonServer, networks: dict) -> None:
    images = draw(np.random.default_rng(7), 4, tuple(SHAPES[name][0]))
    with torch.inference_mode():
        expected = networks[name](torch.from_numpy(images)).numpy()
    if draw is lung_like:
        assert expected.reshape(4, 9, -1).mean(axis=2).std(axis=0).max() > 0.1, "one answer for all proves nothing"
    with InferenceServerClient(panel_server.grpc_url) as client:
        found = _ask(client, name, images)
        one = _ask(client, name, images[2:3])
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    np.testing.assert_allclose(one, expected[2:3], atol=TOLERANCE)


def test_a_large_batch_comes_back_whole_and_in_its_order(panel_server: TritonServer, networks: dict) -> None:
    """The backend lets at most IMAGES_AT_ONCE through the net at a time: here three parts, of unequal size."""
    images = lung_like(np.random.default_rng(8), 130, tuple(SHAPES["mtmrnet"][0]))
    with torch.inference_mode():
        expected = networks["mtmrnet"](torch.from_numpy(images)).numpy()
    assert np.ptp(expected, axis=0).max() > 0.1, "one answer for all proves nothing"
    with InferenceServerClient(panel_server.grpc_url) as client:
        np.testing.assert_allclose(_ask(client, "mtmrnet", images), expected, atol=TOLERANCE)


def _configs(folder: Path, engine: str, precision: str) -> dict[str, Any]:
    digest = file_sha256(folder / "1" / "model.onnx")
    return model_configs(read_config(folder / "config.pbtxt"), engine, precision, digest=digest)


@pytest.mark.slow
def test_other_engines_answer_as_onnx_runtime(panel_server: TritonServer, all_repository: Path, tmp_path: Path) -> None:
    """OpenVINO in float32 and in bfloat16; and TensorRT within ONNX Runtime, which a server without a GPU ignores."""
    engines = {"e2emtl": ("openvino", "fp32"), "mtcnn": ("openvino", "bf16"), "mtmrnet": ("onnxruntime", "fp32")}
    for name, (engine, precision) in engines.items():
        folder = tmp_path / f"{name}_net"
        shutil.copytree(all_repository / folder.name, folder, ignore=shutil.ignore_patterns("configs"))
        cast_file(folder / "1" / "model.onnx", precision)
        for place, config in _configs(folder, engine, precision).items():
            write_config(folder / place, config)
    with (
        TritonServer(tmp_path, config_name="ort_tensorrt") as server,
        InferenceServerClient(server.grpc_url) as client,
        InferenceServerClient(panel_server.grpc_url) as reference,
    ):
        accelerated = client.get_model_config("mtmrnet_net").config.optimization.execution_accelerators
        assert [one.name for one in accelerated.gpu_execution_accelerator] == ["tensorrt"]
        for name, (_, precision) in engines.items():
            images = lung_like(np.random.default_rng(7), 3, tuple(SHAPES[name][0]))
            answers = [{"PRED": _ask(one, name, images)} for one in (client, reference)]
            difference = compare(*answers)
            assert not TOLERANCES[precision].refuses(difference), (name, difference)
            assert (difference.largest > TOLERANCE) == (precision == "bf16"), (name, difference)


def test_the_record_leads_from_the_answer_to_the_nodules_score(
    panel_server: TritonServer, networks: dict, all_repository: Path, one_net_settings: dict
) -> None:
    """With the record alone a client comes to what the bundle's own last step makes of torch's answer."""
    slices = lung_like(np.random.default_rng(3), 5, tuple(SHAPES["mtmrnet"][0]))
    views = lung_like(np.random.default_rng(3), 1, tuple(SHAPES["mtcnn"][0]))
    looks = {name: METHODS[name].view.from_settings(one_net_settings[name]) for name in ("mtmrnet", "mtcnn")}
    with torch.inference_mode():
        preds = {
            "mtmrnet": networks["mtmrnet"](torch.from_numpy(slices)),
            "mtcnn": networks["mtcnn"](torch.from_numpy(views)),
        }
    mean, fused = (looks[name].aggregate(looks[name].named(pred.numpy()), None) for name, pred in preds.items())
    records = {name: _record(all_repository, name)["client"] for name in ("mtmrnet", "mtcnn")}
    with InferenceServerClient(panel_server.grpc_url) as client:
        of_slices, of_views = _ask(client, "mtmrnet", slices).mean(axis=0), _ask(client, "mtcnn", views)[0]
    score = np.average(of_views, weights=records["mtcnn"]["view_weights"])
    assert score == pytest.approx(fused.score, abs=TOLERANCE)
    lowest, highest = (np.array(records["mtmrnet"][f"attribute_{edge}"]) for edge in ("minimum", "maximum"))
    ratings = dict(
        zip(records["mtmrnet"]["pred_channels"][1:], lowest + of_slices[1:] * (highest - lowest), strict=True)
    )
    assert ratings == pytest.approx(mean.attributes, abs=1e-3)
    assert of_slices[0] == pytest.approx(mean.score, abs=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_of_another_size_is_refused(name: str, panel_server: TritonServer) -> None:
    channels, *spatial = SHAPES[name][0]
    images = np.zeros((1, channels, *[edge + 16 for edge in spatial]), dtype=np.float32)
    with (
        InferenceServerClient(panel_server.grpc_url) as client,
        pytest.raises(InferenceServerException, match=r"INVALID_ARG.*unexpected shape"),
    ):
        _ask(client, name, images)


def test_predict_says_that_a_net_takes_no_ct(panel_server: TritonServer) -> None:
    with (
        NoduleClient(panel_server.grpc_url, model="mtcnn_net") as client,
        pytest.raises(InputError, match=r"'mtcnn_net'.*takes IMAGE, not a CT: name a bundle"),
    ):
        client.describe()


def _write(folder: Path, settings: dict, network: torch.nn.Module) -> Path:
    """A bundle's folder with random weights; the path of its checkpoint."""
    models = folder / settings["bundle"] / "models"
    models.mkdir(parents=True)
    torch.save(network.state_dict(), models / "model.pt")
    (models / "model.json").write_text(json.dumps(settings))
    return models / "model.pt"


def _export(checkpoint: Path, repository: Path) -> Path:
    return export_bundle(checkpoint.parents[1], repository, checkpoint=checkpoint)


ABLATED = {
    "one channel, one task": ("e2emtl", E2EMTL, {"width": 0.25, "in_channels": 1, "multi_task": False}),
    "no attributes": ("mtmrnet", MTMRNet, {"width": 0.0625, "regression": False}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ABLATED)
def test_an_ablated_net_is_served_as_its_side_file_describes(case: str, tmp_path: Path, one_net_settings: dict) -> None:
    bundle, kind, options = ABLATED[case]
    changes = {"network": options, "channels": one_net_settings["e2emtl"]["channels"] | {"names": ["ct"]}}
    settings = one_net_settings[bundle] | changes
    repository = _export(_write(tmp_path, settings, kind(**options)), tmp_path / "out")
    image, pred = _dims(read_config(repository / f"{bundle}_net" / "config.pbtxt"))
    assert (image, pred) == ([1, *SHAPES[bundle][0][1:]], [1, *SHAPES[bundle][1][1:]])
    lacking = {"e2emtl": {"MALIGNANCY_PROBABILITY", "HIGH_PROBABILITY", "ATTRIBUTES"}, "mtmrnet": {"ATTRIBUTES"}}[
        bundle
    ]
    for folder in (bundle, f"{bundle}_postprocess"):
        published, left = (
            {tensor.name for tensor in read_config(root / folder / "config.pbtxt").output}
            for root in (TEMPLATES, repository)
        )
        assert lacking <= published - left
        assert {"MASK", "DIAMETER_MM"} & published <= left
    assert "ATTRIBUTES" not in read_config(repository / bundle / "config.pbtxt").ensemble_scheduling.step[2].output_map
    client = _record(repository, bundle)["client"]
    assert client["pred_channels"] == {"e2emtl": ["mask"], "mtmrnet": ["malignancy"]}[bundle]
    assert client[{"e2emtl": "attribute_high_from", "mtmrnet": "attribute_maximum"}[bundle]] == []


REFUSED = {
    "view_weights": ("mtcnn", {"view_weights": None}, r"model\.json lacks view_weights: take the one training wrote"),
    "channels": ("e2emtl", {"channels": {"names": ["ct", "slic"]}}, r"lacks slic_segments"),
    "two of three channels": (
        "e2emtl",
        {"channels": {"names": ["ct", "slic"], "slic_segments": 1, "slic_compactness": 1}},
        r"e2emtl_net: the network does not take an image of 2x32x32x32",
    ),
    "edge": ("e2emtl", {"patch": {"patch_mm": 40.0, "image_size": 40}}, r"image of 3x40x40x40.*multiple of 16"),
    "crop": (
        "mtmrnet",
        {"patch": {"crop": "tight", "image_size": 64}},
        r"cannot be used \(crop must be one of ",
    ),
    "views": ("mtcnn", {"patch": {"patch_mm": 40.0, "image_size": 48, "order": 1}}, r"image of 9x48x48"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_side_file_that_does_not_fit_is_refused_in_one_line(
    case: str, tmp_path: Path, one_net_bundles: Path, one_net_settings: dict
) -> None:
    bundle, changes, message = REFUSED[case]
    settings = {key: value for key, value in (one_net_settings[bundle] | changes).items() if value is not None}
    network = load_network(one_net_bundles / bundle / "models" / "model.pt")
    checkpoint = _write(tmp_path, settings, network)
    with pytest.raises(InputError, match=message) as caught:
        _export(checkpoint, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_channel_without_a_name_is_refused(tmp_path: Path, one_net_settings: dict) -> None:
    options = {"width": 0.25, "attributes": 5}
    checkpoint = _write(tmp_path, one_net_settings["e2emtl"] | {"network": options}, E2EMTL(**options))
    with pytest.raises(InputError, match="gives 7 channels where 9 have names"):
        _export(checkpoint, tmp_path / "out")


VOI = ball_voi("nodule", (56, 50, 34), (0.75, 0.75, 1.25))
DIAMETER = 16.0


def _view(name: str, settings: dict):
    options = {"make_channels": METHODS[name].make_channels(**settings["channels"])} if name == "e2emtl" else {}
    return METHODS[name].view.from_settings(settings, **options)


@pytest.mark.parametrize("name", NAMES)
def test_an_ensemble_answers_what_view_and_torch_compute(
    name: str, panel_server: TritonServer, networks: dict, one_net_settings: dict
) -> None:
    view = _view(name, one_net_settings[name])
    spacing = np.asarray(VOI.volume.spacing, dtype=np.float32)
    prepared = view.prepare(VOI.volume.data, spacing, VOI.center, DIAMETER)
    with torch.inference_mode():
        pred = networks[name](torch.from_numpy(prepared.images)).numpy()
    wanted = view.predict(view.named(pred), prepared.patch, VOI.volume.data, DIAMETER)
    with NoduleClient(panel_server.grpc_url, model=name) as client:
        ((_, found),) = client.ask([VOI], [DIAMETER])
    assert found.malignancy == pytest.approx(wanted.score, abs=TOLERANCE)
    assert found.attributes == pytest.approx(dict(wanted.attributes), abs=1e-3)
    assert found.high == pytest.approx(dict(wanted.attribute_probs), abs=TOLERANCE)
    assert bool(found.maps) == isinstance(view, CubeView)
    for found_map in found.maps.values():
        np.testing.assert_allclose(found_map, wanted.on_voi("probability"), atol=TOLERANCE)


def _asked(panel_server: TritonServer, model: str, diameter: float | None) -> dict[str, np.ndarray]:
    """All output tensors of a model for the VOI."""
    with InferenceServerClient(panel_server.grpc_url) as client:
        answer = client.infer(model, request_inputs(VOI, diameter), client_timeout=120)
    return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}


@pytest.mark.parametrize("declared", [DIAMETER, None])
def test_the_panel_joins_what_the_methods_answer(declared: float | None, panel_server: TritonServer) -> None:
    panel = _asked(panel_server, PANEL, declared)
    own = {name: _asked(panel_server, name, None) for name in ("mtnet", "mtcnn", "e2emtl")}
    diameter = float(own["mtnet"]["DIAMETERS_MM"][1]) if declared is None else declared
    own["mtmrnet"] = _asked(panel_server, "mtmrnet", diameter)
    order = ["mtnet", "mtmrnet", "mtcnn", "e2emtl"]
    scores = np.array([own[name]["MALIGNANCY_PROBABILITY"][0] for name in order])
    assert np.ptp(scores) > 0.05, "equal scores prove nothing"
    np.testing.assert_allclose(panel["MALIGNANCY_BY_METHOD"], scores, atol=1e-6)
    np.testing.assert_allclose(panel["INTERVAL_BY_METHOD"], [own[name]["MALIGNANCY_INTERVAL"] for name in order])
    assert panel["MALIGNANCY_PROBABILITY"] == pytest.approx([scores.mean()], abs=1e-6)
    assert panel["MALIGNANCY_INTERVAL"] == pytest.approx([scores.min(), scores.max()], abs=1e-6)
    mean = 0.4 * own["mtnet"]["FINE_PROBABILITY"] + 0.6 * own["e2emtl"]["MASK_PROBABILITY"]
    np.testing.assert_allclose(panel["MASK_PROBABILITY_MEAN"], mean, atol=1e-6)
    mask = nodule_mask(panel["MASK_PROBABILITY_MEAN"], VOI.center, VOI.volume.spacing)
    np.testing.assert_array_equal(panel["MASK"], mask)
    assert mask.any()
    size = size_of(mask, VOI.volume.spacing)
    assert panel["VOLUME_MM3"] == pytest.approx([size.volume_mm3])
    axes = (size.equivalent_diameter_mm, size.axial_diameter_mm, size.axial_short_axis_mm)
    assert panel["DIAMETERS_MM"] == pytest.approx(axes)
    np.testing.assert_allclose(panel["ATTRIBUTES"], own["mtmrnet"]["ATTRIBUTES"], atol=1e-6)
    assert "ATTRIBUTES" not in own["e2emtl"], "without a read-out it gives no ratings, and the panel's are MTMR-Net's"
    np.testing.assert_array_equal(panel["MASK_PROBABILITY_MTNET"], own["mtnet"]["FINE_PROBABILITY"])
    np.testing.assert_array_equal(panel["MASK_PROBABILITY_E2EMTL"], own["e2emtl"]["MASK_PROBABILITY"])
    assert panel["DIAMETER_MM"] == pytest.approx([diameter])


def test_without_a_diameter_mt_nets_own_measurement_is_taken(panel_server: TritonServer) -> None:
    measured = float(_asked(panel_server, "mtnet", None)["DIAMETERS_MM"][1])
    without, given = (_asked(panel_server, "mtmrnet", diameter) for diameter in (None, measured))
    assert without["DIAMETER_MM"] == pytest.approx([measured])
    for name in ("MALIGNANCY_PROBABILITY", "ATTRIBUTES"):
        np.testing.assert_allclose(without[name], given[name], atol=1e-6)


def test_the_panel_passes_a_refusal_on(panel_server: TritonServer) -> None:
    far = ball_voi("far", (30, 30, 10), (1.0, 1.0, 2.0), shift=90.0)
    with (
        NoduleClient(panel_server.grpc_url) as client,
        pytest.raises(InputError, match=r"^nodule far: .*lies outside the VOI"),
    ):
        list(client.ask([far]))


@pytest.mark.slow
def test_without_mt_net_a_diameter_must_be_given(all_repository: Path, tmp_path: Path) -> None:
    parts = [path for path in all_repository.iterdir() if path.name.startswith("mtmrnet")]
    for part in parts:
        shutil.copytree(part, tmp_path / part.name)
    with TritonServer(tmp_path) as server, NoduleClient(server.grpc_url) as client:
        assert client.describe().name == "mtmrnet", "the one ensemble is the default"
        with pytest.raises(InputError, match="no DIAMETER is given, and mtnet does not measure it: give it in mm"):
            list(client.ask([VOI]))
        ((_, answer),) = client.ask([VOI], [DIAMETER])
    assert 0 < answer.malignancy < 1


def test_the_panel_says_what_its_models_are(all_repository: Path) -> None:
    text = {
        name: value.string_value
        for name, value in read_config(all_repository / PANEL / "config.pbtxt").parameters.items()
    }
    assert text["version"] == "0.0.1, 0.0.2, 0.0.3, 0.0.4"
    assert (float(text["reach_mm"]), float(text["reach_diameters"])) == (48.0, 1.5)
    assert (text["synthetic"], text["rated_by"]) == ("no", "mtmrnet")
    own = read_config(all_repository / "mtcnn" / "config.pbtxt").parameters["calibration"].string_value
    known = Calibration("nowhere", (Bin(0.0, 0.5, 9, 2, 0.2), Bin(0.5, 1.0, 6, 5, 0.8)))
    assert calibrations(text["calibration"]) == calibrations(own) == {"mtcnn": known}


@pytest.mark.slow
def test_three_methods_have_no_panel(all_repository: Path, one_net_bundles: Path, tmp_path: Path) -> None:
    shutil.copytree(all_repository, tmp_path / "out")
    assert (tmp_path / "out" / PANEL).is_dir()
    (tmp_path / "out" / "export_mtnet.json").unlink()
    _export(one_net_bundles / "mtcnn" / "models" / "model.pt", tmp_path / "out")
    assert not (tmp_path / "out" / PANEL).exists()
