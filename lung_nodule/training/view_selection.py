"""MT-CNN's nine networks in one training: each view keeps its own best weights and stops on its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

import torch
from ignite.engine import Engine, Events
from lung_nodule.core import fusion_weights
from lung_nodule.errors import InputError
from lung_nodule.networks import MTCNN
from lung_nodule.training.checkpoints import StageCheckpoints
from monai.metrics import compute_roc_auc

logger = logging.getLogger(__name__)


class ViewSelection:
    """Each view's best weights, by its own validation AUC, and its early stopping (MT-CNN, section III-D).

    A view whose AUC has not risen for ``patience`` validations is stopped: its weights are frozen while the others
    continue, and it costs nothing. Attach it to the validation engine, whose output holds ``pred`` ``[N, 9]`` and
    ``label`` ``[N, 1]``.

    Args:
        network: network of the nine views.
        patience: number of validations without a better AUC after which a view stops.
        kept_epoch: ``"best"`` as described, or ``"last"``: every view is trained to the end, and its weight is that of
            the last validation; the same for all views where nothing is validated.

    Raises:
        InputError: ``patience`` is below 1.
    """

    def __init__(self, *, network: MTCNN, patience: int = 10, kept_epoch: str = "best") -> None:
        if patience < 1:
            raise InputError(f"patience must be at least 1 validation, got {patience}")
        self.network = network
        self.patience = patience
        self.selects = kept_epoch == "best"
        views = len(network.views)
        self.aucs, self.epochs, self.waited = [-1.0] * views, [0] * views, [0] * views
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def attach(self, engine: Engine) -> None:
        """Called by the validation engine."""
        engine.add_event_handler(Events.STARTED, lambda _: self._seen.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._validated)

    def _collect(self, engine: Engine) -> None:
        output = cast(dict[str, torch.Tensor], engine.state.output)
        self._seen.append((output["pred"].detach().cpu(), output["label"].detach().cpu()))

    def _validated(self, engine: Engine) -> None:
        scores, labels = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        aucs = [float(cast(float, compute_roc_auc(scores[:, view], labels[:, 0]))) for view in range(scores.shape[1])]
        engine.state.metrics.update({f"view_{view + 1}_auc": auc for view, auc in enumerate(aucs)})
        self.update(aucs, epoch=engine.state.epoch)

    def update(self, aucs: Sequence[float], *, epoch: int) -> None:
        """Record a validation: the AUC of every view after an epoch."""
        if not self.selects:
            self.aucs, self.epochs = list(aucs), [epoch] * len(aucs)
            return
        for view in self.network.running:
            if aucs[view] > self.aucs[view]:
                self.aucs[view], self.epochs[view], self.waited[view] = aucs[view], epoch, 0
                self._keep(view)
            else:
                self.waited[view] += 1
        self._stop()

    def _keep(self, view: int) -> None:
        for name, value in self.network.views[view].state_dict().items():
            self.weights[f"views.{view}.{name}"] = value.detach().clone()

    def _stop(self) -> None:
        for view in self.network.running:
            if self.waited[view] >= self.patience:
                self.network.stop(view)
                logger.info(
                    f"view {view + 1} stops: its best AUC was {self.aucs[view]:.4f}, of epoch {self.epochs[view]}"
                )

    @property
    def finished(self) -> bool:
        """Whether every view has stopped."""
        return not self.network.running

    def settings(self) -> dict[str, list[float]]:
        """For the side file: ``view_weights`` (they add up to 1), ``view_aucs`` and ``view_epochs``, by view.

        The AUCs are those of the inner validation fold: a training AUC is near 1 for every view, and the test fold must
        have no influence.
        """
        validated = any(self.epochs)
        ranked = validated and any(self.aucs)
        if validated and not ranked:
            logger.warning("every view's validation AUC is 0: all views get the same weight")
        weights = fusion_weights(self.aucs if ranked else [1.0] * len(self.aucs)).tolist()
        aucs = list(self.aucs) if validated else []
        return {"view_weights": weights, "view_aucs": aucs, "view_epochs": list(self.epochs)}

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and tensors."""
        return {"aucs": self.aucs, "epochs": self.epochs, "waited": self.waited, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`'s; views that had stopped are stopped again."""
        self.aucs, self.epochs, self.waited = (list(state[name]) for name in ("aucs", "epochs", "waited"))
        self.weights = dict(state["weights"])
        self._stop()


class ViewCheckpoints(StageCheckpoints):
    """:class:`StageCheckpoints` whose ``best.pt`` holds every view's own best weights; ends a training that is done.

    Args:
        views: the selection; it is part of the state that is resumed.
        options: options of :class:`StageCheckpoints`.
    """

    def __init__(self, *, views: ViewSelection, **options: Any) -> None:
        super().__init__(**options)
        self.views = views
        self.state = {**self.state, "views": views}

    def resume(self, engine: Engine) -> None:
        """Load the last state; a training whose views have all stopped runs no epoch again."""
        super().resume(engine)
        self._end(engine)

    def save(self, engine: Engine) -> None:
        """Keep the state and the best weights; end when every view has stopped."""
        super().save(engine)
        self._end(engine)

    def _save_best(self, engine: Engine) -> None:
        if not self.views.selects:
            super()._save_best(engine)
        elif engine.state.epoch in self.views.epochs or not (self.directory / "best.pt").is_file():
            self._write("best.pt", self.views.weights)

    def _end(self, engine: Engine) -> None:
        if self.views.finished:
            logger.info(f"{self.directory}: every view has stopped by epoch {engine.state.epoch}")
            engine.terminate()
