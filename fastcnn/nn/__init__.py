"""Layers, containers, losses and initialisers.

The contract of every layer is in `fastcnn.nn.layer`: ``y = layer(x)`` for inference,
``y, ctx = layer.forward(x)`` and ``dx = layer.backward(dy, ctx)`` for training.
"""

from . import blocks, init
from .activation import LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from .auxiliary import AuxiliaryGraph, AuxiliaryLoss
from .batch_norm import BatchNorm2d
from .class_losses import BinaryFocalLoss, FocalLoss, NLLLoss, ProbabilityCrossEntropyLoss
from .containers import Graph, Sequential
from .conv import Conv2d
from .conv1d import Conv1d
from .conv_transpose import ConvTranspose2d
from .dropout import Dropout
from .layer import Layer
from .linear import Linear
from .losses import CrossEntropyLoss, MSELoss
from .lrn import LocalResponseNorm
from .merge import Add, Concat
from .parameter import Buffer, Parameter
from .pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from .pooling1d import AvgPool1d, MaxPool1d
from .rectifiers import ELU, PReLU, Step
from .roi import RoIPool
from .shape import CropLike, Flatten, Unflatten
from .summary import Summary
from .weighted_pool import WeightedAvgPool2d

__all__ = [
    "ELU",
    "Add",
    "AuxiliaryGraph",
    "AuxiliaryLoss",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm2d",
    "BinaryFocalLoss",
    "Buffer",
    "Concat",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CropLike",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "FocalLoss",
    "GlobalAvgPool2d",
    "Graph",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "NLLLoss",
    "PReLU",
    "Parameter",
    "ProbabilityCrossEntropyLoss",
    "ReLU",
    "RoIPool",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Step",
    "Summary",
    "Tanh",
    "Unflatten",
    "WeightedAvgPool2d",
    "blocks",
    "init",
]
