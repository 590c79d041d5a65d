"""ONNX files in half precision: weights and arithmetic are cast, inputs and outputs stay float32."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import onnx
import onnx_ir
from onnx import TensorProto, numpy_helper, version_converter
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

BF16_OPSET = 22
"""First opset with convolutions and pooling in bfloat16."""
_KEPT = (*DEFAULT_OP_BLOCK_LIST, "Sigmoid", "Softmax", "ReduceMean")
_KEPT_IN_BF16 = (*_KEPT, "ConvTranspose")
"""TensorRT for RTX 1.7 cannot build a plan of a transposed convolution in bfloat16."""


def cast_file(path: Path, precision: str) -> None:
    """Cast an ONNX file in place.

    Probabilities and means over space (sigmoid, softmax, mean) stay float32; normalizations are part of the weights
    already. In bfloat16, transposed convolutions also stay float32, and the file has opset 22.

    Args:
        path: float32 file of :func:`lung_nodule.deployment.repository.onnx_files.write_onnx`.
        precision: ``fp32``, ``fp16`` or ``bf16``; ``fp32`` leaves the file unchanged.
    """
    if precision == "fp32":
        return
    model = onnx.load(str(path))
    model = _in_float16(model, _KEPT) if precision == "fp16" else _in_bfloat16(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _in_float16(model: onnx.ModelProto, kept: tuple[str, ...]) -> onnx.ModelProto:
    copy = onnx.ModelProto.FromString(model.SerializeToString())  # the converter modifies its input
    return _sort_nodes(convert_float_to_float16(copy, keep_io_types=True, op_block_list=list(kept)))


def _in_bfloat16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The float16 model with float16 replaced by bfloat16; weights are rounded from float32."""
    cast = _in_float16(model, _KEPT_IN_BF16)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for tensor in cast.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            exact = numpy_helper.to_array(weights[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(exact.astype(ml_dtypes.bfloat16), tensor.name))
    for node in cast.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.BFLOAT16
            elif attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                half = numpy_helper.to_array(attribute.t)
                attribute.t.CopyFrom(numpy_helper.from_array(half.astype(ml_dtypes.bfloat16), attribute.t.name))
    return version_converter.convert_version(cast, BF16_OPSET)


def _sort_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Sort the nodes topologically, as the converter appends its casts, and remove the outdated value types."""
    typed = onnx_ir.from_proto(model)
    typed.graph.sort()
    ordered = onnx_ir.to_proto(typed)
    del ordered.graph.value_info[:]
    return ordered
