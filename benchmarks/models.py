"""The networks whose times others published, as short as they can be written, and those of the `transformers` library.

Operators and shapes are the originals'; weights are never looked at, so everything is made on meta.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Adds what a branch makes of its input; `skip` where their shapes differ."""

    def __init__(self, branch: nn.Module, skip: nn.Module | None = None, last: nn.Module | None = None):
        super().__init__()
        self.branch, self.skip, self.last = branch, skip or nn.Identity(), last or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return self.last(self.branch(x) + self.skip(x))


def normed(
    into: int, out: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True
) -> list[nn.Module]:
    """Return a convolution, batch normalisation and, mostly, ReLU."""
    convolution = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(out), *([nn.ReLU(inplace=True)] if relu else [])]


def resnet(depths: tuple[int, ...], bottleneck: bool) -> nn.Module:
    """Return a ResNet (v1.5: the stride is in the 3 x 3 convolution)."""
    layers, channels = [*normed(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        out = width * (4 if bottleneck else 1)
        for block in range(depth):
            stride = 2 if stage and not block else 1
            first = normed(channels, width, 1) if bottleneck else []
            branch = [*first, *normed(width if bottleneck else channels, width, 3, stride)]
            branch += normed(width, out, 1 if bottleneck else 3, relu=False)
            skip = (
                nn.Sequential(*normed(channels, out, 1, stride, relu=False))
                if stride > 1 or channels != out
                else None
            )
            layers.append(Residual(nn.Sequential(*branch), skip, nn.ReLU(inplace=True)))
            channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def vgg16() -> nn.Module:
    """Return VGG-16 without batch normalisation."""
    layers: list[nn.Module] = []
    channels = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(512 * 49, 4096), nn.ReLU(inplace=True), nn.Dropout()]
    return nn.Sequential(
        *layers, nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, 1000)
    )


class Dense(nn.Module):
    """A layer of a DenseNet: what it makes is put beside its input."""

    def __init__(self, into: int, growth: int = 32):
        super().__init__()
        first = [nn.BatchNorm2d(into), nn.ReLU(inplace=True), nn.Conv2d(into, 4 * growth, 1, bias=False)]
        second = [
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(inplace=True),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        ]
        self.branch = nn.Sequential(*first, *second)

    def forward(self, x: Tensor) -> Tensor:
        """Return both."""
        return torch.cat([x, self.branch(x)], 1)


def densenet121() -> nn.Module:
    """Return DenseNet-121."""
    layers, channels = [*normed(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for stage, depth in enumerate((6, 12, 24, 16)):
        if stage:
            half = channels // 2
            layers += [
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, half, 1, bias=False),
                nn.AvgPool2d(2),
            ]
            channels = half
        for _ in range(depth):
            layers.append(Dense(channels))
            channels += 32
    layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, 1000))


class ChannelsFirst(nn.Module):
    """Runs layers over the last dimension of an image whose channels come second."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the same order of dimensions."""
        return self.layers(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Scale(nn.Module):
    """A factor for each channel, learned."""

    def __init__(self, width: int):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the product."""
        return x * self.factor


def convnext_tiny() -> nn.Module:
    """Return ConvNeXt-T."""
    layers: list[nn.Module] = [nn.Conv2d(3, 96, 4, 4), ChannelsFirst(nn.LayerNorm(96))]
    for stage, depth in enumerate((3, 3, 9, 3)):
        width = 96 * 2**stage
        if stage:
            layers += [ChannelsFirst(nn.LayerNorm(width // 2)), nn.Conv2d(width // 2, width, 2, 2)]
        for _ in range(depth):
            feed = [
                nn.LayerNorm(width),
                nn.Linear(width, 4 * width),
                nn.GELU(),
                nn.Linear(4 * width, width),
                Scale(width),
            ]
            spatial = nn.Conv2d(width, width, 7, padding=3, groups=width)
            layers.append(Residual(nn.Sequential(spatial, ChannelsFirst(*feed))))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(768), nn.Linear(768, 1000)
    )


class Attention(nn.Module):
    """Attention of every word to every word; `fused` in one kernel, as from PyTorch 2.0 on."""

    def __init__(self, width: int, heads: int, fused: bool):
        super().__init__()
        self.heads, self.into, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape, (batch, words, width)."""
        parts = self.into(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        if self.fused:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            scores = query @ key.transpose(-2, -1) * (1 / query.shape[-1]) ** 0.5
            mixed = scores.softmax(-1) @ value
        return self.out(mixed.transpose(1, 2).flatten(-2))


class Vit(nn.Module):
    """A vision transformer with patches of 16 x 16 pixels."""

    def __init__(self, width: int, heads: int, depth: int, fused: bool = True):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 16, 16)
        self.first, self.places = (
            nn.Parameter(torch.zeros(1, 1, width)),
            nn.Parameter(torch.zeros(1, 197, width)),
        )
        self.blocks = nn.Sequential(*[part for _ in range(depth) for part in (
            Residual(nn.Sequential(nn.LayerNorm(width), Attention(width, heads, fused))),
            Residual(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))),
        )])  # fmt: skip
        self.last, self.answer = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Return a score for each class."""
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.places
        return self.answer(self.last(self.blocks(x))[:, 0])


IMAGES: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet((2, 2, 2, 2), False),
    "resnet34": lambda: resnet((3, 4, 6, 3), False),
    "resnet50": lambda: resnet((3, 4, 6, 3), True),
    "resnet50v1.5": lambda: resnet((3, 4, 6, 3), True),
    "resnet101": lambda: resnet((3, 4, 23, 3), True),
    "resnet152": lambda: resnet((3, 8, 36, 3), True),
    "vgg16": vgg16,
    "densenet121": densenet121,
    "convnext_tiny": convnext_tiny,
    "vit_tiny_patch16_224": lambda: Vit(192, 3, 12),
    "vit_small_patch16_224": lambda: Vit(384, 6, 12),
    "vit_base_patch16_224": lambda: Vit(768, 12, 12),
    "vit_large_patch16_224": lambda: Vit(1024, 16, 24),
}


def language(name: str, training: bool) -> Any:
    """Return a model of the transformers library by the name that the published times give it, with attention as in 2023."""
    import transformers as library

    eager: dict[str, Any] = {"attn_implementation": "eager"}
    if name.startswith("bert"):
        kind = library.BertForPreTraining if training else library.BertForSequenceClassification
        large = {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
        }
        return kind(library.BertConfig(**large, **eager))
    if name == "gpt2_large":
        return library.GPT2LMHeadModel(library.GPT2Config(n_embd=1280, n_head=20, n_layer=36, **eager))
    if name == "gpt3_xl":
        return library.GPT2LMHeadModel(
            library.GPT2Config(n_embd=3072, n_head=24, n_layer=24, n_positions=2048, **eager)
        )
    if name == "opt_13":
        large = {"hidden_size": 2048, "ffn_dim": 8192, "num_attention_heads": 32, "num_hidden_layers": 24}
        return library.OPTForCausalLM(library.OPTConfig(**large, **eager))
    raise KeyError(name)
