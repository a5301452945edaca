"""The nets of the benchmark in PyTorch, with the parameter names of fastcnn.models."""

from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """ResNet's basic block; `pad` is the shortcut without parameters."""

    def __init__(self, c_in: int, c: int, stride: int, pad: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c, 3, stride, 1, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c)
        self.stride, self.more = stride, c - c_in
        self.downsample: Any = None
        if not pad and (stride > 1 or c != c_in):
            self.downsample = nn.Sequential(
                nn.Conv2d(c_in, c, 1, stride, bias=False), nn.BatchNorm2d(c)
            )

    def forward(self, x: Any) -> Any:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.more:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        y += x
        return functional.relu(y, inplace=True)


def _stage(c_in: int, c: int, count: int, stride: int, pad: bool) -> nn.Module:
    return nn.Sequential(
        *[Block(c if i else c_in, c, 1 if i else stride, pad) for i in range(count)]
    )


def resnet20() -> nn.Module:
    """ResNet-20 for CIFAR-10."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 16, 3, 1, 1, bias=False), bn1=nn.BatchNorm2d(16),
        relu=nn.ReLU(inplace=True),
        layer1=_stage(16, 16, 3, 1, True), layer2=_stage(16, 32, 3, 2, True),
        layer3=_stage(32, 64, 3, 2, True),
        avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(64, 10),
    ))  # fmt: skip


def resnet18() -> nn.Module:
    """ResNet-18."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False), bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(inplace=True), maxpool=nn.MaxPool2d(3, 2, 1),
        layer1=_stage(64, 64, 2, 1, False), layer2=_stage(64, 128, 2, 2, False),
        layer3=_stage(128, 256, 2, 2, False), layer4=_stage(256, 512, 2, 2, False),
        avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(512, 1000),
    ))  # fmt: skip


def lenet5() -> nn.Module:
    """LeNet-5, ReLU variant."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 6, 5, padding=2), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 16, 5), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2), flatten=nn.Flatten(),
        fc1=nn.Linear(400, 120), relu3=nn.ReLU(), fc2=nn.Linear(120, 84), relu4=nn.ReLU(),
        fc3=nn.Linear(84, 10),
    ))  # fmt: skip


def vgg16() -> nn.Module:
    """VGG-16 without its dropouts, whose masks would differ."""
    layers: list[nn.Module] = []
    c = 3
    for count, width in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(count):
            layers += [nn.Conv2d(c, width, 3, padding=1), nn.ReLU(inplace=True)]
            c = width
        layers.append(nn.MaxPool2d(2))
    layers += [
        nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 4096),
        nn.ReLU(inplace=True), nn.Linear(4096, 1000),
    ]  # fmt: skip
    return nn.Sequential(*layers)


def load(net: nn.Module, arrays: Any) -> nn.Module:
    """Parameters and buffers of a fastcnn model, in order of the floating ones."""
    state = {
        name: value for name, value in net.state_dict().items() if value.dtype.is_floating_point
    }
    if set(state) == set(arrays):
        source = {name: torch.from_numpy(arrays[name]) for name in state}
    else:  # vgg16: the layers are numbered differently, their order is the same
        source = dict(zip(state, map(torch.from_numpy, arrays.values()), strict=True))
    net.load_state_dict(source, strict=False)
    return net
