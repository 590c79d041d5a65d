"""Training speed of every bundle against a plain loop that reads the NIfTI files in every epoch.

    python ci/benchmarks/training.py --dataset_dir data/lidc [--bundles mtnet,mtcnn] [--steps 8] [--out speed.json]

Both train the same network with the recommended settings on the same nodules with the same random transforms. The plain
loop loads each nodule from its files, computes its channels and runs in float32 with contiguous tensors, as a first
training script would; ours keeps the loaded nodules and the channels, and runs under bfloat16 autocast with channels
last. Prints, as JSON and in one run, samples per second of both, their ratio, and the share of the time that the data
take: what bounds the speed.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fire
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout's library, whatever is installed

from monai.bundle import ConfigParser

from lung_nodule.io import write_json
from lung_nodule.runtime.command_line import names
from lung_nodule.training import PrepareTargets, Stage, fixed_randomness

ROOT = Path(__file__).resolve().parents[2]
STAGES = {
    "mtnet": {"masks": "coarse", "class": "train#stage"},
    "mtmrnet": {"all": "train#stage"},
    "mtcnn": {"all": "train#stage"},
    "e2emtl": {"all": "train#stage"},
}
NODULES = 24
WARM_UP_STEPS = 2
WARM_UP_EPOCHS = 24
"""Warm-up epochs of the bundle's loop: by then all but 1 % of a nodule's six random crops have been drawn and kept."""
logger = logging.getLogger(__name__)


def stage_of(bundle: str, place: str, *, plain: bool, **options: Any) -> Stage:
    """A stage of a bundle's training with its recommended settings, or with those of a plain loop."""
    configs = ROOT / "bundles" / bundle / "configs"
    parser = ConfigParser()
    parser.read_config([str(configs / name) for name in ("train.json", "recommended.json")])
    few = f"$({parser['training_list'].removeprefix('$')})[:{NODULES}]"
    parser.update({"bundle_root": str(configs.parent), "device": "cpu", "training_list": few, **options})
    if plain:
        parser["nodules"] = {"_target_": "Dataset", "data": "@training_list", "transform": "@load"}
        if "variant_images" in parser:  # of which ours keeps several for each nodule
            kept = {"_target_": "SelectItemsd", "keys": ["image", "target"]}
            parser["train#draw"] = {"_target_": "Compose", "transforms": ["@crops", "@view", kept]}
        parser.update({"amp": False, **({"cache_dir": None} if bundle == "e2emtl" else {})})
    stage = parser.get_parsed_content(place)
    if plain:
        stage.network.to(memory_format=torch.contiguous_format)
        stage.memory_format = torch.contiguous_format
    return stage


def endless(stage: Stage) -> Iterator[Mapping[str, Any]]:
    """Batches, epoch after epoch."""
    while True:
        yield from stage.dataloader


def measure(stage: Stage, steps: int, warm_up: int) -> dict[str, float]:
    """Samples per second over some steps, and the share of the time in which the data were waited for."""
    batches, prepare, samples, waited = endless(stage), PrepareTargets(stage.targets), 0, 0.0
    stage.network.train()
    for number in range(warm_up + steps):
        if number == warm_up:
            started, samples, waited = time.perf_counter(), 0, 0.0
        asked = time.perf_counter()
        image, target = prepare(next(batches), torch.device("cpu"), False, memory_format=stage.memory_format)[:2]
        waited += time.perf_counter() - asked
        stage.optimizer.zero_grad()
        stage.loss(stage.inferer(image, stage.network), target).backward()
        stage.optimizer.step()
        samples += len(image)
    seconds = time.perf_counter() - started
    return {"samples_per_s": round(samples / seconds, 2), "data_share": round(waited / seconds, 3)}


def compare(bundle: str, *, dataset_dir: str, steps: int) -> dict[str, Any]:
    """Both loops on every stage of a bundle."""
    found: dict[str, Any] = {}
    for name, place in STAGES[bundle].items():
        with tempfile.TemporaryDirectory() as folder, fixed_randomness(0):
            options = {"dataset_dir": dataset_dir, "output_dir": folder}
            plain = measure(stage_of(bundle, place, plain=True, **options), steps, WARM_UP_STEPS)
            stage = stage_of(bundle, place, plain=False, **options)
            ours = measure(stage, steps, WARM_UP_EPOCHS * len(stage.dataloader))
        found[name] = {"ours": ours, "plain": plain, "ratio": round(ours["samples_per_s"] / plain["samples_per_s"], 2)}
        logger.info("%s %s: %s", bundle, name, json.dumps(found[name]))
    return found


def main(dataset_dir: str, bundles: Any = None, steps: int = 8, out: str | None = None) -> None:
    """Measure, print, and write the ratios.

    Args:
        dataset_dir: a dataset as ``preprocessing`` writes it.
        bundles: names separated by commas; all by default.
        steps: number of measured optimizer steps of each loop.
        out: JSON file to write.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen = names(bundles, "--bundles") or list(STAGES)
    bundles_found = {bundle: compare(bundle, dataset_dir=dataset_dir, steps=steps) for bundle in chosen}
    results = {**bundles_found, "threads": torch.get_num_threads()}
    print(json.dumps(results, indent=2))
    if out is not None:
        write_json(out, results)


if __name__ == "__main__":
    fire.Fire(main)
