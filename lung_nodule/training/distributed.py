"""Distributed training: the processes that torchrun started, and each rank's part of the work.

A recipe stays the same whatever the number of ranks: batch sizes count all ranks together, gradients are averaged over
them, and validation is gathered, so that every rank sees the same metric and the same best epoch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TypeVar

import ignite.distributed as idist
import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from lung_nodule.errors import InputError
from torch import nn
from torch.nn.parallel import DistributedDataParallel

Item = TypeVar("Item")

LAUNCH = "torchrun --standalone --nproc_per_node=N -m monai.bundle run ..."


def device_of_rank() -> str:
    """The GPU of this process's number on its machine, or the CPU where there is no GPU.

    Raises:
        InputError: more processes than GPUs.
    """
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), torch.cuda.device_count()
    if gpus == 0:
        return "cpu"
    if processes > gpus:
        raise InputError(
            f"{processes} processes for {gpus} GPU(s): start with --nproc_per_node={gpus}, or with --device cpu"
        )
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"


def require_process_group() -> None:
    """Refuse several processes that do not know of each other: each would do all the work and write the same files.

    Raises:
        InputError: torchrun started them, and the configuration joins no process group.
    """
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if processes > 1 and idist.backend() is None:
        raise InputError(
            f"torchrun started {processes} processes, but this configuration is for one: add the bundle's "
            "multi_gpu_train.json or multi_gpu_evaluate.json to --config_file"
        )


def start_ranks(device: str | torch.device) -> None:
    """Join the process group, by NCCL between GPUs and by gloo between CPUs; ranks above 0 log nothing.

    Args:
        device: device of this rank.

    Raises:
        InputError: the process was not started by torchrun.
    """
    if "RANK" not in os.environ:
        raise InputError(f"the multi-GPU configuration runs under torchrun: {LAUNCH}")
    if idist.backend() is None:
        idist.initialize("nccl" if torch.device(device).type == "cuda" else "gloo")
    if idist.get_rank() > 0:
        logging.disable(logging.INFO)


def end_ranks() -> None:
    """Leave the process group; ranks above 0 may log again."""
    if idist.get_rank() > 0:
        logging.disable(logging.NOTSET)
    idist.finalize()


def part_of_rank(items: Sequence[Item]) -> Sequence[Item]:
    """Every n-th item of n ranks, from this rank's number on; all of them in a single process."""
    return items[idist.get_rank() :: idist.get_world_size()]


def distributed_data_parallel(network: nn.Module, *, find_unused_parameters: bool = False) -> nn.Module:
    """Wrap a network for a trainer: gradients are averaged over the ranks, which start from rank 0's weights.

    The network itself stays as it is, for validation and for checkpoints (whose names gain no ``module.``). On GPUs
    its batch norms are turned into ``SyncBatchNorm`` in place, so that they see the whole batch; that does not exist
    on a CPU, where each rank takes the statistics of its own part.

    Args:
        network: network on this rank's device.
        find_unused_parameters: whether a part of it is frozen or gets no gradient in some step.

    Returns:
        the wrapped network; the network itself where nothing in it is trainable, or in a single process.
    """
    if idist.get_world_size() == 1:
        return network
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trainable:
        return network
    on_gpu = trainable[0].device.type == "cuda"
    if on_gpu:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return DistributedDataParallel(
        network, device_ids=[trainable[0].device] if on_gpu else None, find_unused_parameters=find_unused_parameters
    )


class BroadcastBuffers:
    """Give every rank rank 0's buffers (batch-norm statistics) before it validates: they are what is saved.

    Args:
        network: module to be validated.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Called by the evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if idist.get_world_size() > 1:
            for buffer in self.network.buffers():
                dist.broadcast(buffer, src=0)
