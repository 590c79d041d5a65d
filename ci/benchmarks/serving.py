"""Speed of the served models compared with other ways to compute the same answer, in one run.

    python ci/benchmarks/serving.py --repository out/repository [--bundles bundles] [--requests 20] [--out speed.json]

For every method and one nodule of 80 mm: the ensemble's median latency, against the nets' own computing times added up
(what its pre- and post-processing and the transport cost), against torch in process (the bundle's view and network, in
evaluation mode), and against a client that prepares the images itself and asks the nets one after the other. Then
throughput at 1, 4 and 8 requests under way; NoduleClient over gRPC and HTTP, with the VOI in the request or in shared
memory; the panel against the slowest of its methods; memory and start time. Prints JSON; every ratio is of figures of
this run.
"""

from __future__ import annotations

import json
import logging
import re
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fire
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout's library, whatever is installed

from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput

from ci.benchmarks.nodule import DIAMETER, nodule
from lung_nodule.core import NoduleView
from lung_nodule.deployment.answers import PANEL
from lung_nodule.deployment.client import NoduleClient, request_inputs
from lung_nodule.deployment.repository.export import default_checkpoint
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.io import Voi, write_json
from lung_nodule.methods import METHODS, Method, load_network, load_view, method_named

CONCURRENT = (1, 4, 8)
logger = logging.getLogger(__name__)


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Median time of a call in ms, after two that are not counted."""
    times = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[2:])


def ask(client: InferenceServerClient, model: str, inputs: list[InferInput], outputs: list[str]) -> Any:
    """Ask for one answer."""
    return client.infer(model, inputs, outputs=[InferRequestedOutput(name) for name in outputs], client_timeout=600)


def net_input(name: str, value: np.ndarray) -> InferInput:
    """Input tensor of a net."""
    tensor = InferInput(name, list(value.shape), "FP32")
    tensor.set_data_from_numpy(np.ascontiguousarray(value, dtype=np.float32))
    return tensor


def ask_in_turn(client: InferenceServerClient, method: Method, view: NoduleView, voi: Voi) -> None:
    """Act as a client that prepares the images, asks the nets one after the other, and joins their answers."""
    prepared = view.prepare(voi.volume.data, voi.volume.spacing, voi.center, DIAMETER)
    tensors: dict[str, np.ndarray] = {"IMAGE": prepared.images}
    for part in method.served:
        inputs = [net_input(name, tensors[name]) for name in part.inputs]
        tensors[part.output] = ask(client, part.model, inputs, [part.output]).as_numpy(part.output)
    named = {name.lower(): value[:, 0] for name, value in tensors.items() if name != "IMAGE"}
    outputs = view.named(tensors["PRED"]) if "PRED" in tensors else named
    view.predict(outputs, prepared.patch, voi.volume.data, DIAMETER)


def run_in_process(view: NoduleView, network: torch.nn.Module, voi: Voi) -> None:
    """Run the bundle's view and network in this process."""
    prepared = view.prepare(voi.volume.data, voi.volume.spacing, voi.center, DIAMETER)
    with torch.inference_mode():
        answer = network.predict(torch.from_numpy(prepared.images))  # type: ignore[operator]
    view.predict(view.named(answer.numpy()), prepared.patch, voi.volume.data, DIAMETER)


def compute_ms(client: InferenceServerClient, models: list[str]) -> dict[str, float]:
    """Computing time of each model so far, in ms, as the server counts it."""
    found = {}
    for model in models:
        answer: Any = client.get_inference_statistics(model)
        found[model] = answer.model_stats[0].inference_stats.compute_infer.ns / 1e6
    return found


def of_method(client: InferenceServerClient, name: str, bundles: Path, voi: Voi, requests: int) -> dict[str, Any]:
    """Latencies of one method, each with the ensemble's ratio to it."""
    method, checkpoint = method_named(name), default_checkpoint(bundles / name)
    view, network, nets = load_view(checkpoint), load_network(checkpoint), [part.model for part in method.served]
    inputs = request_inputs(voi, DIAMETER if "diameter_mm" in view.needs else None)
    outputs = ["MALIGNANCY_PROBABILITY", *(["MASK"] if view.segments else [])]
    before = compute_ms(client, nets)
    served = median_ms(lambda: ask(client, name, inputs, outputs), requests)
    after = compute_ms(client, nets)
    others = {
        "engines": sum(after[net] - before[net] for net in nets) / (requests + 2),
        "torch": median_ms(lambda: run_in_process(view, network, voi), max(3, requests // 4)),
        "chained_client": median_ms(lambda: ask_in_turn(client, method, view, voi), max(3, requests // 4)),
    }
    ratios = {
        "served_over_engines": served / others["engines"],
        "torch_over_served": others["torch"] / served,
        "chained_client_over_served": others["chained_client"] / served,
    }
    return {"served_ms": served, **{f"{key}_ms": value for key, value in others.items()}, **ratios}


def ways(server: TritonServer, model: str, voi: Voi, requests: int) -> dict[str, float]:
    """Median latency of NoduleClient for each protocol and transport, measured in turn, and the ratios to gRPC's."""
    urls = {"grpc": server.grpc_url, "http": f"http://{server.http_url}"}
    times: dict[str, list[float]] = {}
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(NoduleClient(url, model=model, in_flight=1, shared_memory=shared))
            for protocol, url in urls.items()
            for name, shared in ((protocol, False), (f"{protocol}_shared_memory", True))
        }
        for _ in range(requests + 1):
            for name, client in clients.items():
                started = time.perf_counter()
                list(client.ask([voi], [DIAMETER]))
                times.setdefault(name, []).append(1000 * (time.perf_counter() - started))
    found = {name: statistics.median(of_way[1:]) for name, of_way in times.items()}
    ratios = {f"{name}_over_grpc": found[name] / found["grpc"] for name in clients if name != "grpc"}
    return {f"{name}_ms": value for name, value in found.items()} | ratios


def throughput(url: str, model: str, voi: Voi, requests: int) -> dict[str, float]:
    """Answers per second with several requests under way, and their ratio to one at a time."""
    found: dict[str, float] = {}
    inputs = request_inputs(voi, DIAMETER if model in ("mtmrnet", PANEL) else None)
    with InferenceServerClient(url) as client:
        for under_way in CONCURRENT:
            with ThreadPoolExecutor(under_way) as pool:
                started = time.perf_counter()
                list(pool.map(lambda _: ask(client, model, inputs, ["MALIGNANCY_PROBABILITY"]), range(requests)))
                found[f"{under_way}_under_way_per_s"] = requests / (time.perf_counter() - started)
    one = found["1_under_way_per_s"]
    return found | {f"{count}_over_1": found[f"{count}_under_way_per_s"] / one for count in CONCURRENT[1:]}


def memory_mb(group: int | None) -> float:
    """Memory of a process group, each shared page divided among the processes that share it."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(status.read_text().rpartition(")")[2].split()[2]) == group:
                shares = re.search(r"^Pss: +(\d+) kB", (status.parent / "smaps_rollup").read_text(), re.MULTILINE)
                total += int(shares[1]) if shares else 0
        except OSError:
            continue  # the process has ended
    return total * 1024 / 1e6


def rounded(values: Any) -> Any:
    """Every number to three digits."""
    if isinstance(values, dict):
        return {key: rounded(value) for key, value in values.items()}
    return float(f"{values:.3g}") if isinstance(values, float) else values


def main(repository: str, bundles: str = "bundles", requests: int = 20, out: str | None = None) -> None:
    """Measure, print, and write the ratios.

    Args:
        repository: model repository that ``export`` wrote, with the bundles' own weights.
        bundles: folder of the bundles.
        requests: number of measured requests of each kind.
        out: JSON file to write.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    voi, started = nodule(), time.perf_counter()
    with TritonServer(repository) as server:
        found: dict[str, Any] = {"start_s": time.perf_counter() - started, "threads": torch.get_num_threads()}
        with InferenceServerClient(server.grpc_url) as client:
            for name in [name for name in METHODS if (Path(repository) / name).is_dir()]:
                found[name] = of_method(client, name, Path(bundles), voi, requests)
                found[name]["throughput"] = throughput(server.grpc_url, name, voi, requests)
                found[name]["ways"] = ways(server, name, voi, max(5, requests // 2))
                logger.info("%s: %s", name, json.dumps(rounded(found[name])))
            if (Path(repository) / PANEL).is_dir():
                outputs, inputs = ["MALIGNANCY_PROBABILITY", "MASK"], request_inputs(voi, DIAMETER)
                panel = median_ms(lambda: ask(client, PANEL, inputs, outputs), requests)
                slowest = max(found[name]["served_ms"] for name in METHODS if name in found)
                found[PANEL] = {"served_ms": panel, "over_slowest_method": panel / slowest}
                found[PANEL]["ways"] = ways(server, PANEL, voi, max(5, requests // 2))
        found["memory_mb"] = memory_mb(server.pid)
    print(json.dumps(rounded(found), indent=2))
    if out is not None:
        write_json(out, rounded(found))


if __name__ == "__main__":
    fire.Fire(main)
