"""The health check of a container: a small inference, for its exit status. Needs Python's standard library alone.

Triton still reports ready when a step has died. The question goes over HTTP, where a client that gives up does no harm.
It is that of ``lung_nodule.deployment.server.canary``, which a container does not have.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import urllib.error
import urllib.request
from typing import Any

SHAPE = (24, 24, 3)
LUNG_HU = -850.0
INPUTS: dict[str, tuple[list[int], list[float]]] = {
    "VOI": ([*SHAPE], [LUNG_HU] * math.prod(SHAPE)),
    "SPACING": ([3], [1.0, 1.0, 1.0]),
    "CENTER": ([3], [size / 2 for size in SHAPE]),
    "DIAMETER": ([1], [8.0]),
}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without the proxy that the environment names: the server is this container's."""
STATISTICS_S = 5.0
"""Statistics are answered at once, also by a busy server."""
SCORE = "MALIGNANCY_"
"""Begins the names of the outputs that are a number for every nodule."""


class CanaryError(RuntimeError):
    """A model gave no answer, or one that is no probability."""


class CanaryTimeoutError(CanaryError):
    """A model gave no answer in time."""


def main() -> None:
    """Ask each model; the exit status is 0 if all answered, otherwise 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["nodule_panel"])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--timeout", type=float, default=100.0, help="seconds, of each request")
    given = parser.parse_args()
    try:
        for model in given.models:
            check(given.url, model, given.timeout)
    except CanaryError as error:
        sys.exit(f"canary: {error}")


def check(url: str, model: str, timeout_s: float) -> None:
    """Ask a model; one that gives no answer in time is well if it has answered others meanwhile.

    Raises:
        CanaryError: as :func:`ask`.
    """
    before = _answered(url, model)
    try:
        ask(url, model, timeout_s)
    except CanaryTimeoutError:
        if _answered(url, model) <= before:
            raise


def _answered(url: str, model: str) -> int:
    """How many requests a model has answered, in all its versions; 0 where nothing says it."""
    try:
        versions = _json(f"{url}/v2/models/{model}/stats", None, STATISTICS_S)["model_stats"]
    except CanaryError:
        return 0
    return sum(int(entry["inference_stats"]["success"]["count"]) for entry in versions)


def ask(url: str, model: str, timeout_s: float) -> dict[str, list[float]]:
    """Send a small piece of lung through a model that takes a VOI.

    Args:
        url: of Triton's HTTP endpoint.
        model: its name.
        timeout_s: of each request, in seconds.

    Returns:
        Its scores by name, each in 0..1.

    Raises:
        CanaryError: the model cannot be reached, takes no VOI, or gave no probability.
    """
    described = _json(f"{url}/v2/models/{model}", None, timeout_s)
    inputs = [entry["name"] for entry in described["inputs"]]
    outputs = [entry["name"] for entry in described["outputs"] if entry["name"].startswith(SCORE)]
    if not outputs or not set(inputs) <= set(INPUTS):
        raise CanaryError(f"{model} takes {inputs} and gives {outputs}: name a model that scores a VOI")
    question = {
        "inputs": [
            {"name": name, "datatype": "FP32", "shape": INPUTS[name][0], "data": INPUTS[name][1]} for name in inputs
        ],
        "outputs": [{"name": name} for name in outputs],
    }
    answer = _json(f"{url}/v2/models/{model}/infer", question, timeout_s)
    scores = {entry["name"]: entry["data"] for entry in answer["outputs"]}
    if set(scores) != set(outputs) or not all(_is_probability(value) for data in scores.values() for value in data):
        raise CanaryError(f"{model} answered {scores}, no probabilities")
    return scores


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _json(url: str, body: dict[str, Any] | None, timeout_s: float) -> Any:
    """The JSON at a URL, asked with GET, or with POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with DIRECT.open(urllib.request.Request(url, data), timeout=timeout_s) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise CanaryError(f"{url}: {error.code} {error.read().decode(errors='replace')}") from None
    except (OSError, ValueError) as error:
        late = isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError)
        raise (CanaryTimeoutError if late else CanaryError)(f"{url}: {error}") from None


if __name__ == "__main__":
    main()
