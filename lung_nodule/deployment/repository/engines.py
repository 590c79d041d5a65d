"""Engines that run the nets in Triton: supported precisions and model configs."""

from __future__ import annotations

from collections.abc import Iterable

from lung_nodule.deployment.repository.build_plans import Profile, shapes_text
from lung_nodule.errors import InputError
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue] # protobuf

ENGINES: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("fp32", "fp16"),
    "openvino": ("fp32", "bf16"),
    "tensorrt": ("fp32", "fp16", "bf16"),
}
"""Supported precisions by engine. ONNX Runtime has no bfloat16 on a CPU; OpenVINO's float16 is slower there than
float32."""
HINTS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's INFERENCE_PRECISION_HINT; by default OpenVINO uses bfloat16 on a CPU that supports it."""
ENGINE_CACHE = "/tmp/onnxruntime_tensorrt"
"""Begins the name of a net's cache folder, which ends with the hash of its file: ONNX Runtime knows an engine again by
the network's structure, not by its weights. One level below /tmp, as ONNX Runtime makes no more."""
HEURISTIC = "1"
"""cuDNN's choice of algorithms by rule. By default ONNX Runtime measures them for every batch size that it meets."""


def check_choice(engine: str, precision: str) -> None:
    """Refuse an unknown engine or a precision that it does not support.

    Raises:
        InputError: the choice is invalid; the message lists the valid choices.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is unknown: choose {_either(ENGINES)}")
    known = dict.fromkeys(precision for taken in ENGINES.values() for precision in taken)
    if precision not in known:
        raise InputError(f"precision {precision!r} is unknown: choose {_either(known)}")
    if precision not in ENGINES[engine]:
        others = [name for name, taken in ENGINES.items() if precision in taken]
        raise InputError(
            f"--engine {engine} takes {_either(ENGINES[engine])}, not {precision}: choose one of these, or "
            f"--engine {_either(others)}"
        )


def model_configs(config: ModelConfig, engine: str, precision: str, *, digest: str) -> dict[str, ModelConfig]:
    """Model configs of a net for an engine, by path within the net's folder.

    ``config.pbtxt`` is the server's default: the chosen engine, but ONNX Runtime for ``tensorrt``, whose plan is
    selected by ``--model-config-name=tensorrt``, so that the same repository also runs without a GPU.
    ``configs/ort_tensorrt.pbtxt`` is ONNX Runtime with TensorRT inside.

    Args:
        config: config of the net for ONNX Runtime, with the checkpoint's shapes.
        engine: one of ``ENGINES``.
        precision: a precision that the engine supports.
        digest: SHA-256 of the ONNX file.
    """
    plain = _copy(config, engine=engine, precision=precision)
    if engine == "openvino":
        return {"config.pbtxt": _for_openvino(plain, precision)}
    of_onnxruntime = _copy(plain, cudnn_conv_algo_search=HEURISTIC)
    configs = {"config.pbtxt": of_onnxruntime}
    if precision in ENGINES["onnxruntime"]:
        configs["configs/ort_tensorrt.pbtxt"] = _with_accelerator(of_onnxruntime, precision, digest)
    if engine == "tensorrt":
        configs["configs/tensorrt.pbtxt"] = _for_plan(plain)
        if precision not in ENGINES["onnxruntime"]:
            configs["config.pbtxt"] = _for_plan(plain)
    return configs


def profile_of(config: ModelConfig) -> Profile:
    """Minimum, optimum and maximum shape by input: batches of 1, a quarter of the maximum, and the maximum."""
    largest = config.max_batch_size
    batches = (1, max(1, largest // 4), largest)
    return {tensor.name: [[batch, *tensor.dims] for batch in batches] for tensor in config.input}


def _copy(config: ModelConfig, **parameters: str) -> ModelConfig:
    copy = ModelConfig()
    copy.CopyFrom(config)
    for name, value in parameters.items():
        copy.parameters[name].string_value = value
    return copy


def _for_openvino(config: ModelConfig, precision: str) -> ModelConfig:
    config = _copy(config, INFERENCE_PRECISION_HINT=HINTS[precision])
    config.ClearField("platform")
    config.backend = "openvino"
    return config


def _for_plan(config: ModelConfig) -> ModelConfig:
    config = _copy(config)
    config.platform, config.default_model_filename = "tensorrt_plan", "model.plan"
    return config


def _with_accelerator(config: ModelConfig, precision: str, digest: str) -> ModelConfig:
    """Config for TensorRT within ONNX Runtime; the engine is built once at load time for all batch sizes and cached."""
    config = _copy(config)
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
    accelerator.parameters["precision_mode"] = precision.upper()
    accelerator.parameters["trt_engine_cache_enable"] = "1"
    accelerator.parameters["trt_engine_cache_path"] = f"{ENGINE_CACHE}_{digest[:16]}"
    for bound, shapes in shapes_text(profile_of(config)).items():
        accelerator.parameters[f"trt_profile_{bound}_shapes"] = shapes
    return config


def _either(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
