"""The end-to-end multi-task network: a 3-D U-Net whose down-sampling path also feeds a classification branch."""

from __future__ import annotations

import torch
from lung_nodule.errors import NetworkOptionError
from lung_nodule.networks.blocks import scaled
from monai.networks.blocks import Convolution
from monai.networks.nets import BasicUNet
from torch import nn
from torch.nn import functional

FEATURES = (32, 32, 64, 128, 256, 32)
NORMS = ("instance", "batch")
POOLING = 16  # from the cube to the deepest map
LEAKY = ("leakyrelu", {"negative_slope": 0.1, "inplace": True})


class E2EMTL(nn.Module):
    """Segmentation, attributes and malignancy of a cube in one network (Chen et al., ICPR 2020).

    Published are the shared down-sampling path of a U-Net, a segmentation branch, a joint classification branch that
    also takes the segmentation prediction, and the three input channels. The layers are ours: MONAI's ``BasicUNet``
    (32, 32, 64, 128, 256 down, 32 up) and :class:`JointClassifier`.

    Args:
        width: factor on the channel counts (kept at multiples of 8).
        in_channels: channels of the cube (3: HU window, Otsu, SLIC; 1: HU window).
        attributes: number of attribute logits; 7 as in the slides' Table III.
        multi_task: whether there is a classification branch (False: the slides' single-task row).
        norm: normalization of the U-Net, ``"instance"`` (MONAI's) or ``"batch"``.

    Raises:
        NetworkOptionError: ``norm`` is neither, or the width is not above 0.

    Example:
        >>> import torch
        >>> from lung_nodule.networks import E2EMTL
        >>> network = E2EMTL(width=0.25).eval()
        >>> logits = network(torch.rand(1, 3, 32, 32, 32))
        >>> {name: tuple(value.shape) for name, value in logits.items()}
        {'segmentation': (1, 1, 32, 32, 32), 'attributes': (1, 7), 'malignancy': (1, 1)}
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        in_channels: int = 3,
        attributes: int = 7,
        multi_task: bool = True,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise NetworkOptionError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
        features = [scaled(channels, width) for channels in FEATURES]
        self.unet = BasicUNet(
            spatial_dims=3, in_channels=in_channels, out_channels=1, features=features, norm=(norm, {"affine": True})
        )
        self.classifier = (
            JointClassifier(features[4], hidden=scaled(128, width), attributes=attributes) if multi_task else None
        )

    def forward(self, cube: torch.Tensor) -> dict[str, torch.Tensor]:
        """As :meth:`outputs`."""
        return self.outputs(cube)

    def outputs(self, cube: torch.Tensor) -> dict[str, torch.Tensor]:
        """Cubes ``[N, C, D, D, D]`` in 0..1, the edge a multiple of 16 and at least 32 voxels, to logits.

        Returns:
            ``segmentation`` ``[N, 1, D, D, D]``; with ``multi_task`` also ``attributes`` ``[N, 7]`` and ``malignancy``
            ``[N, 1]``.

        Raises:
            NetworkOptionError: the edge is another.
        """
        if not torch.jit.is_scripting():
            _check_edges(cube)
        deepest, maps = self._down(cube)
        logits = {"segmentation": self._up(deepest, maps)}
        if self.classifier is not None:
            logits.update(self.classifier(deepest, torch.sigmoid(logits["segmentation"])))
        return logits

    def predict(self, cube: torch.Tensor) -> torch.Tensor:
        """Cubes ``[N, C, D, D, D]`` to probabilities ``[N, 9, D, D, D]`` (``[N, 1, D, D, D]`` without classes).

        Channel 0 is the mask, channel 1 malignancy, channels 2 to 8 the attributes; a class is constant over the cube.
        """
        logits = self.outputs(cube)
        maps = [torch.sigmoid(logits["segmentation"].float())]
        for name in ["malignancy", "attributes"]:
            if name in logits:
                scores = torch.sigmoid(logits[name].float())[:, :, None, None, None]
                maps.append(scores.expand(-1, -1, cube.shape[2], cube.shape[3], cube.shape[4]))
        return torch.cat(maps, dim=1)

    def _down(self, cube: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The shared path: the deepest map, and the maps for the segmentation branch's skip connections."""
        maps = [self.unet.conv_0(cube)]
        maps.append(self.unet.down_1(maps[-1]))
        maps.append(self.unet.down_2(maps[-1]))
        maps.append(self.unet.down_3(maps[-1]))
        if torch.jit.is_scripting():  # TorchScript has no autocast and compiles only this branch
            return self.unet.down_4(maps[-1]), maps
        return _in_float32(self.unet.down_4, maps[-1]), maps

    def _up(self, deepest: torch.Tensor, maps: list[torch.Tensor]) -> torch.Tensor:
        """The segmentation branch."""
        features = self.unet.upcat_4(deepest, maps[3])
        features = self.unet.upcat_3(features, maps[2])
        features = self.unet.upcat_2(features, maps[1])
        return self.unet.final_conv(self.unet.upcat_1(features, maps[0]))


class E2EMTLPredictor(E2EMTL):
    """:class:`E2EMTL` with one output tensor and the same weight names, for evaluation and inference."""

    def forward(self, cube: torch.Tensor) -> torch.Tensor:
        """Cubes ``[N, C, D, D, D]`` in 0..1 -> probabilities ``[N, 9, D, D, D]``, as :meth:`E2EMTL.predict`."""
        return self.predict(cube)


class JointClassifier(nn.Module):
    """From the deepest shared map and the segmentation to attributes, and from these to malignancy.

    The map is joined by the segmentation probability, averaged down to its size and not detached, then a 1 x 1 x 1
    convolution, global average pooling and a fully connected layer give the features; malignancy reads the features
    and the attributes' probabilities. Batch normalization, because the average of an instance-normalized map carries
    almost no information.

    Args:
        channels: channels of the deepest map.
        hidden: number of features of the fully connected layer.
        attributes: number of attribute logits.
    """

    def __init__(self, channels: int, *, hidden: int, attributes: int) -> None:
        super().__init__()
        self.pooling = POOLING
        self.join = Convolution(3, channels + 1, channels, kernel_size=1, norm="batch", act=LEAKY)
        self.features = nn.Sequential(nn.Linear(channels, hidden), nn.LeakyReLU(0.1))
        self.attributes = nn.Linear(hidden, attributes)
        self.malignancy = nn.Linear(hidden + attributes, 1)

    def forward(self, deepest: torch.Tensor, probability: torch.Tensor) -> dict[str, torch.Tensor]:
        """``[N, channels, D / 16, ...]`` and ``[N, 1, D, ...]`` to logits ``[N, attributes]`` and ``[N, 1]``."""
        mask = functional.avg_pool3d(probability, self.pooling).to(deepest.dtype)
        features = self.features(self.join(torch.cat([deepest, mask], dim=1)).mean(dim=(2, 3, 4)))
        attributes = self.attributes(features)
        malignancy = self.malignancy(torch.cat([features, torch.sigmoid(attributes)], dim=1))
        return {"attributes": attributes, "malignancy": malignancy}


def _in_float32(module: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """A module's output without autocast.

    torch 2.13's bfloat16 weight gradient of a 3 x 3 x 3 convolution on a map of 2 x 2 x 2 reads memory that was never
    written (CPU): at a cube of 32 voxels the deepest level would train on noise of any size.
    """
    device = features.device.type
    if not torch.is_autocast_enabled(device):
        return module(features)
    with torch.autocast(device, enabled=False):
        return module(features.float())


def _check_edges(cube: torch.Tensor) -> None:
    if any(edge % POOLING or edge < 2 * POOLING for edge in cube.shape[2:]):
        edges = "x".join(str(int(edge)) for edge in cube.shape[2:])
        raise NetworkOptionError(
            f"a cube of {edges} voxels does not fit: give an --image_size that "
            f"is a multiple of {POOLING} and at least {2 * POOLING}, such as 32, 48 or 64"
        )
