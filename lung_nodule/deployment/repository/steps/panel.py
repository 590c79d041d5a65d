"""Triton model: runs all methods concurrently inside the server for one request."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports] # in Triton's Python stub

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lung_nodule import core
from step_errors import StepError, error_of_model, response_of

SCORES = ("MALIGNANCY_PROBABILITY", "MALIGNANCY_INTERVAL")
MEAN_MAP = "MASK_PROBABILITY_MEAN"
JOINED = (MEAN_MAP, "MASK", "VOLUME_MM3", "DIAMETERS_MM")
"""Outputs computed from the maps of all methods that segment."""
LONG_AXIS = 1
"""Index of the long axis in ``DIAMETERS_MM``."""


class TritonPythonModel:
    """VOI, SPACING, CENTER (and DIAMETER) -> the mask, malignancy by every method, and the characteristics.

    ``MALIGNANCY_PROBABILITY`` ``[1]`` is the mean of the methods, ``MALIGNANCY_INTERVAL`` ``[2]`` their minimum and
    maximum; ``MALIGNANCY_BY_METHOD`` ``[M]`` and ``INTERVAL_BY_METHOD`` ``[M, 2]`` are in the order of the parameter
    ``methods``. ``MASK_PROBABILITY_<METHOD>`` is the map of a method that segments (parameter ``maps``),
    ``MASK_PROBABILITY_MEAN`` their mean with the weights ``map_weights``, from which mask and sizes are computed.
    ``ATTRIBUTES`` is the mean of the methods ``rated_by``.

    The method ``sized`` needs the diameter. If the request has none, it gets the long axis of the mask of the method
    ``measured_by``. Where that is no diameter of a nodule (:func:`core.check_diameter`), as of an empty mask, the
    values of ``sized`` are NaN, the mean is that of the others, and ``DIAMETER_MM`` is 0.

    A method that gives an error ends the request with the method's message and code; for other errors see
    ``step_errors.response_of``.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters of the config."""
        config = json.loads(args["model_config"])
        text = {name: value["string_value"] for name, value in config["parameters"].items()}
        self._methods = text["methods"].split()
        self._measured_by, self._sized = text["measured_by"], text["sized"]
        self._rated_by, self._rated = text["rated_by"].split(), len(text["attributes"].split())
        self._maps = dict(entry.split(":") for entry in text["maps"].split())
        self._map_weights = np.array(text["map_weights"].split(), dtype=np.float32)

    async def execute(self, requests: list) -> list:
        """Answer every request."""
        return list(await asyncio.gather(*(self._respond(request) for request in requests)))

    async def _respond(self, request):
        try:
            tensors = await self._answer(request)
        except Exception as error:
            return response_of(error)
        asked = set(request.requested_output_names())
        kept = {name: value for name, value in tensors.items() if name in asked}
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in kept.items()])

    async def _answer(self, request) -> dict[str, np.ndarray]:
        given = {tensor.name(): tensor for tensor in request.inputs()}
        _check_diameter(given)
        asked = set(request.requested_output_names())
        first = [name for name in self._methods if name != self._sized or "DIAMETER" in given]
        pending = {name: asyncio.create_task(self._ask(name, given, asked)) for name in first}
        try:
            return await self._gather(pending, given, asked)
        finally:
            await asyncio.gather(*pending.values(), return_exceptions=True)  # if one refused, wait for the others

    async def _gather(self, pending: dict[str, asyncio.Task], given: dict, asked: set[str]) -> dict[str, np.ndarray]:
        if "DIAMETER" in given:
            diameter = given["DIAMETER"].as_numpy()
        else:
            diameter = _measured((await pending[self._measured_by])["DIAMETERS_MM"][[LONG_AXIS]])
        if self._sized not in pending and diameter[0] > 0:
            sized = {**given, "DIAMETER": pb_utils.Tensor("DIAMETER", diameter.astype(np.float32))}
            pending[self._sized] = asyncio.create_task(self._ask(self._sized, sized, asked))
        answers = {name: await task for name, task in pending.items()}
        tensors = {**self._scores(answers), **self._ratings(answers), **self._masks(answers, given, asked)}
        return {**tensors, "DIAMETER_MM": diameter.astype(np.float32).ravel()}

    async def _ask(self, method: str, given: dict, asked: set[str]) -> dict[str, np.ndarray]:
        names = [*SCORES]
        if method == self._measured_by and "DIAMETER" not in given:
            names.append("DIAMETERS_MM")
        if method in self._rated_by:
            names.append("ATTRIBUTES")
        if method in self._maps and asked & {*JOINED, _map_of(method)}:
            names.append(self._maps[method])
        inputs = [tensor for name, tensor in given.items() if name != "DIAMETER" or method == self._sized]
        sent = pb_utils.InferenceRequest(model_name=method, requested_output_names=names, inputs=inputs)
        answer = await sent.async_exec()
        if answer.has_error():
            raise error_of_model(answer.error())
        return {name: pb_utils.get_output_tensor_by_name(answer, name).as_numpy() for name in names}

    def _scores(self, answers: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Scores of the methods that answered, and their mean."""
        scores = np.full(len(self._methods), np.nan, dtype=np.float32)
        intervals = np.full((len(self._methods), 2), np.nan, dtype=np.float32)
        for name, answer in answers.items():
            index = self._methods.index(name)
            scores[index], intervals[index] = answer["MALIGNANCY_PROBABILITY"][0], answer["MALIGNANCY_INTERVAL"]
        return {
            "MALIGNANCY_PROBABILITY": np.array([np.nanmean(scores)], dtype=np.float32),
            "MALIGNANCY_INTERVAL": np.array([np.nanmin(scores), np.nanmax(scores)], dtype=np.float32),
            "MALIGNANCY_BY_METHOD": scores,
            "INTERVAL_BY_METHOD": intervals,
        }

    def _ratings(self, answers: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        rated = [answers[name]["ATTRIBUTES"] for name in self._rated_by if name in answers]
        return {"ATTRIBUTES": _mean(np.array(rated, dtype=np.float32).reshape(-1, self._rated))}

    def _masks(self, answers: dict[str, dict[str, np.ndarray]], given: dict, asked: set[str]) -> dict[str, np.ndarray]:
        """Maps of the methods and, if requested, their weighted mean with its mask and sizes."""
        maps = {_map_of(method): answers[method].get(name) for method, name in self._maps.items()}
        found = {name: values for name, values in maps.items() if values is not None}
        if not asked & {*JOINED}:
            return found
        mean = np.average(list(found.values()), axis=0, weights=self._map_weights)
        center, spacing = (given[name].as_numpy().astype(float) for name in ("CENTER", "SPACING"))
        mask = core.nodule_mask(mean, center, spacing)
        volume, *diameters = astuple(core.size_of(mask, spacing))
        return {
            **found,
            MEAN_MAP: mean,
            "MASK": mask.astype(np.uint8),
            "VOLUME_MM3": np.array([volume], dtype=np.float32),
            "DIAMETERS_MM": np.array(diameters, dtype=np.float32),
        }


def _check_diameter(given: dict) -> None:
    """Refuse an impossible diameter before any method computes.

    Raises:
        StepError: it is not one number from 1 to 200 mm.
    """
    try:
        for value in given["DIAMETER"].as_numpy().ravel() if "DIAMETER" in given else ():
            core.check_diameter(float(value))
    except ValueError as error:
        raise StepError(str(error), pb_utils.TritonError.INVALID_ARG) from None


def _measured(diameter: np.ndarray) -> np.ndarray:
    """Measured diameter ``[1]`` in mm; 0 if it is not a nodule's."""
    try:
        core.check_diameter(float(diameter[0]))
    except ValueError:
        return np.zeros_like(diameter)
    return diameter


def _map_of(method: str) -> str:
    """Name of a method's map in the panel's outputs."""
    return f"MASK_PROBABILITY_{method.upper()}"


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of the finite values; NaN if there is none."""
    known = np.isfinite(values)
    totals = np.where(known, values, 0).sum(axis=0)
    return np.divide(totals, known.sum(axis=0), out=np.full_like(totals, np.nan), where=known.any(axis=0))
