"""MTMR-Net: malignancy and eight attributes of a slice from one ResNet-50."""

from __future__ import annotations

import torch
from lung_nodule.errors import NetworkOptionError
from lung_nodule.networks.blocks import as_rgb, scaled
from monai.networks.nets import resnet50
from torch import nn

TRUNK_PLANES = 64  # of the first block; 2048 channels leave the last


class MTMRNet(nn.Module):
    """ResNet-50 with an attribute branch that the classifier sees as well (MTMR-Net 2018, section 2.1 and Fig. 1).

    The trunk is MONAI's ResNet-50 with the options that make it torchvision's, parameter by parameter (23,508,032 of
    them at width 1). Its pooled features (2048) go through one linear layer, without an activation, to the attribute
    features (256), from which the eight attributes are read; the classifier takes both together.

    Args:
        width: factor on the published channel counts, at least 1/64.
        regression: whether there is an attribute branch; without it this is a plain ResNet-50 (the paper's Table 1).
        bidirectional: whether the attribute heads take 256 features of their own and as many of the malignancy's, so
            that both tasks see each other (the paper's text; its released code has one direction only).
        dropout: dropout probability before the classifier.

    Raises:
        NetworkOptionError: ``bidirectional`` without ``regression``, or a width that leaves the first block no channel.

    Example:
        >>> import torch
        >>> from lung_nodule.networks import MTMRNet
        >>> network = MTMRNet(width=0.125).eval()
        >>> scores = network(torch.rand(2, 1, 64, 64))
        >>> {name: tuple(value.shape) for name, value in scores.items()}
        {'logits': (2, 2), 'malignancy': (2,), 'attributes': (2, 8)}
    """

    def __init__(
        self, *, width: float = 1.0, regression: bool = True, bidirectional: bool = False, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if bidirectional and not regression:
            raise NetworkOptionError(
                "bidirectional needs the attribute branch: set regression to true or bidirectional to false"
            )
        if not isinstance(width, int | float) or TRUNK_PLANES * width < 1:
            raise NetworkOptionError(f"the width must be at least 1/{TRUNK_PLANES}, got {width!r}")
        self.trunk = resnet50(
            spatial_dims=2, n_input_channels=3, feed_forward=False, conv1_t_stride=2, bias_downsample=False,
            widen_factor=width,
        )  # fmt: skip
        pooled, features = self.trunk.get_parameter("layer4.2.conv3.weight").shape[0], scaled(256, width)
        self.attribute_features = nn.Linear(pooled, features) if regression else None
        self.malignancy_features = nn.Linear(pooled, features) if bidirectional else None
        self.attribute_heads = nn.Linear(features * (2 if bidirectional else 1), 8) if regression else None
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(pooled + (features if regression else 0), 2))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """As :meth:`outputs`."""
        return self.outputs(image)

    def outputs(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Slices ``[N, 1, H, W]`` in 0..1 -> outputs for the loss.

        Returns:
            ``logits`` ``[N, 2]`` (benign, malignant), ``malignancy`` ``[N]``, their softmax for malignant, and, with
            the attribute branch, ``attributes`` ``[N, 8]`` in 0..1, in the order of ``lung_nodule.lidc.ATTRIBUTES``.
        """
        pooled = self.trunk(as_rgb(image))
        if self.attribute_features is not None and self.attribute_heads is not None:
            features = self.attribute_features(pooled)
            scores = _scores(self.classifier(torch.cat([features, pooled], dim=1)))
            scores["attributes"] = torch.sigmoid(self.attribute_heads(self._seen(features, pooled)).float())
        else:
            scores = _scores(self.classifier(pooled))
        return scores

    def predict(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` in 0..1 -> float32 ``[N, 9]`` in 0..1: malignancy, then the eight attributes.

        ``[N, 1]`` where the network has no attribute branch.
        """
        scores = self.outputs(image)
        malignancy = scores["malignancy"][:, None]
        return torch.cat([malignancy, scores["attributes"]], dim=1) if "attributes" in scores else malignancy

    def _seen(self, features: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """The attribute heads' input."""
        if self.malignancy_features is not None:
            features = torch.cat([features, self.malignancy_features(pooled)], dim=1)
        return features


class MTMRNetPredictor(MTMRNet):
    """:class:`MTMRNet` with one output tensor and the same weight names, for evaluation and inference."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` in 0..1 -> scores ``[N, 9]``, as :meth:`MTMRNet.predict`."""
        return self.predict(image)


def _scores(logits: torch.Tensor) -> dict[str, torch.Tensor]:
    logits = logits.float()
    return {"logits": logits, "malignancy": logits.softmax(dim=1)[:, 1]}
