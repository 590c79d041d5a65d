"""MT-CNN: nine small networks, one per view, that classify and reconstruct what they see."""

from __future__ import annotations

import itertools

import torch
from lung_nodule.errors import NetworkOptionError
from lung_nodule.networks.blocks import scaled
from torch import nn

VIEWS = 9
CHANNELS = (24, 32, 64, 64)
KERNELS = (5, 3, 3, 3)
HIDDEN = (256, 16)


class ShareNet(nn.Sequential):
    """The layers that both tasks share: valid convolutions, each with ReLU and max pooling by 2.

    Args:
        channels: output channels of each convolution.
        kernels: kernel size of each convolution.
    """

    def __init__(self, channels: tuple[int, ...], kernels: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        for (before, after), kernel in zip(itertools.pairwise((1, *channels)), kernels, strict=True):
            layers += [nn.Conv2d(before, after, kernel), nn.ReLU(), nn.MaxPool2d(2)]
        super().__init__(*layers)


class ClsNet(nn.Sequential):
    """The classification branch: three fully connected layers, dropout 0.5 after the first two.

    Args:
        features: number of input features per image.
        hidden: units of the first two layers (256 and 16 published); the third has two, benign and malignant.
    """

    def __init__(self, features: int, hidden: tuple[int, int]) -> None:
        first, second = hidden
        super().__init__(
            nn.Flatten(),
            nn.Linear(features, first), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(first, second), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(second, 2),
        )  # fmt: skip


class ImgNet(nn.Sequential):
    """The reconstruction branch, ShareNet's mirror: upsampling by 2, then a transposed convolution, ReLU between.

    Args:
        channels: channels of ShareNet.
        kernels: kernel sizes of ShareNet.
    """

    def __init__(self, channels: tuple[int, ...], kernels: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        for (before, after), kernel in zip(itertools.pairwise((*channels[::-1], 1)), kernels[::-1], strict=True):
            layers += [nn.Upsample(scale_factor=2), nn.ConvTranspose2d(before, after, kernel), nn.ReLU()]
        super().__init__(*layers[:-1])


class ViewNet(nn.Module):
    """The network of one view (MT-CNN, section III-B and Fig. 3; 646,291 parameters at width 1).

    The convolutions are valid: 64 -> 60, 30 -> 28, 14 -> 12, 6, so that the mirror ends at 64 again. The fourth
    convolution of the ablation (the paper's Fig. 6) is a further 3x3 with 64 channels, 6 -> 4, 2.

    Args:
        width: factor on the published channel counts.
        conv_layers: 1 to 4 convolutions in ShareNet, and as many in its mirror (3 published).
        image_size: pixels along a view's edge (64 published).

    Raises:
        NetworkOptionError: the layers do not halve this size exactly, or there are not 1 to 4 of them.
    """

    def __init__(self, *, width: float = 1.0, conv_layers: int = 3, image_size: int = 64) -> None:
        super().__init__()
        if conv_layers not in (1, 2, 3, 4):
            raise NetworkOptionError(f"conv_layers must be 1, 2, 3 or 4, got {conv_layers!r}")
        channels = tuple(scaled(c, width) for c in CHANNELS[:conv_layers])
        kernels = KERNELS[:conv_layers]
        edge = _encoded_edge(image_size, kernels)
        self.share = ShareNet(channels, kernels)
        self.classify = ClsNet(channels[-1] * edge**2, (scaled(HIDDEN[0], width), scaled(HIDDEN[1], width)))
        self.reconstruct = ImgNet(channels, kernels)
        self.apply(_initialise)

    def forward(self, view: torch.Tensor, reconstruct: bool = True) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One view ``[N, 1, H, W]`` in 0..1 -> class logits ``[N, 2]`` and logits of the pixels, as the view.

        Without ``reconstruct`` the second is None (the paper's single-task network).
        """
        features = self.share(view)
        return self.classify(features), self.reconstruct(features) if reconstruct else None


class MTCNN(nn.Module):
    """Nine independent :class:`ViewNet`, one per view of a nodule (MT-CNN, Fig. 2d).

    A loop over nine networks is faster than one grouped network or a vectorised map over stacked weights on a CPU
    (``ci/benchmarks/mtcnn_views.py``).

    Args:
        width: factor on the published channel counts.
        conv_layers: convolutions in ShareNet (3 published).
        image_size: pixels along a view's edge (64 published).

    Example:
        >>> import torch
        >>> from lung_nodule.networks import MTCNN
        >>> network = MTCNN(width=0.125, image_size=32).eval()
        >>> outputs = network(torch.rand(2, 9, 32, 32))
        >>> {name: tuple(value.shape) for name, value in outputs.items()}
        {'logits': (2, 9, 2), 'reconstruction': (2, 9, 32, 32)}
    """

    __jit_unused_properties__ = ("running",)

    def __init__(self, *, width: float = 1.0, conv_layers: int = 3, image_size: int = 64) -> None:
        super().__init__()
        options = {"width": width, "conv_layers": conv_layers, "image_size": image_size}
        self.views = nn.ModuleList(ViewNet(**options) for _ in range(VIEWS))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """As :meth:`outputs`."""
        return self.outputs(image)

    def outputs(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Nine views ``[N, 9, H, W]`` in 0..1 -> ``logits`` ``[N, 9, 2]`` and ``reconstruction`` (logits, as image)."""
        outputs = [net(image[:, index : index + 1]) for index, net in enumerate(self.views)]
        return {
            "logits": torch.stack([logits for logits, _ in outputs], dim=1),
            "reconstruction": torch.cat([pixels for _, pixels in outputs], dim=1),
        }

    def predict(self, image: torch.Tensor) -> torch.Tensor:
        """Nine views ``[N, 9, H, W]`` in 0..1 -> each view's malignancy probability, ``[N, 9]``.

        The paper has two units, a sigmoid and one score; ``sigmoid(z1 - z0)`` equals the softmax's second entry and
        satisfies all three statements.
        """
        outputs = []
        for index, net in enumerate(self.views):
            outputs.append(net(image[:, index : index + 1], False)[0])
        logits = torch.stack(outputs, dim=1).float()
        return torch.sigmoid(logits[..., 1] - logits[..., 0])

    def stop(self, view: int) -> None:
        """Freeze a view's weights: no optimizer changes them any more, not even by momentum."""
        for parameter in self.views[view].parameters():
            parameter.requires_grad_(False)
            parameter.grad = None

    @property
    def running(self) -> list[int]:
        """The views that have not been stopped."""
        return [index for index, net in enumerate(self.views) if next(net.parameters()).requires_grad]


class MTCNNPredictor(MTCNN):
    """:class:`MTCNN` with one output tensor and the same weight names, for evaluation and inference."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Nine views ``[N, 9, H, W]`` in 0..1 -> each view's malignancy probability, ``[N, 9]``."""
        return self.predict(image)


class RunningViews(nn.Module):
    """The views still in training, which the trainer runs. A stopped view costs nothing.

    Args:
        network: network of all nine views.
        reconstruct: whether ImgNet is run (False: alpha 0, the paper's ST-CNN).
    """

    def __init__(self, network: MTCNN, *, reconstruct: bool = True) -> None:
        super().__init__()
        self.network = network
        self.reconstruct = reconstruct

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Nine views ``[N, 9, H, W]`` -> of the R running ones: ``image``, ``logits`` and ``reconstruction``.

        ``[N, R, H, W]``, ``[N, R, 2]`` and, where there is one, ``[N, R, H, W]``.
        """
        running = self.network.running
        outputs = [
            self.network.views[view](image[:, view : view + 1], reconstruct=self.reconstruct) for view in running
        ]
        result = {"image": image[:, running], "logits": torch.stack([logits for logits, _ in outputs], dim=1)}
        if self.reconstruct:
            result["reconstruction"] = torch.cat([pixels for _, pixels in outputs], dim=1)
        return result


def _encoded_edge(image_size: int, kernels: tuple[int, ...]) -> int:
    """Pixels along the edge of ShareNet's last map."""
    edge = image_size
    for kernel in kernels:
        edge -= kernel - 1
        if edge < 2 or edge % 2:
            step = 2 ** len(kernels)
            raise NetworkOptionError(
                f"views of {image_size} pixels cannot be halved {len(kernels)} times and restored exactly: "
                f"--image_size must be a multiple of {step} and at least {3 * step}, such as 64"
            )
        edge //= 2
    return edge


def _initialise(module: nn.Module) -> None:
    """Kaiming normal weights, biases of 0 (MT-CNN, section III-D)."""
    if isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
        mode = "fan_out" if isinstance(module, nn.ConvTranspose2d) else "fan_in"  # torch swaps a transposed one's fans
        nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
