"""Whole nets: a training step, and inference, by fastcnn's plan, PyTorch (torch.compile too, where
asked for) and ONNX Runtime.

All start from the same weights. The first step's gradients of the first and of the last layer, or
the outputs, must agree with fastcnn's layers in float64. The rate is so low that weights hardly
move: later steps take as long as usual, and never meet numbers that are not finite.
"""

import importlib.util
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from .peers import OURS, Candidate, Case, have_torch
from .shapes import Net

LR = 1e-7


class NetCase(Case):
    """A training step, or inference, of one net; data is images, labels and the parameters."""

    layer: Net
    # A ReLU or a max pool that rounding turns over sends a gradient another way, and the variances
    # of a small batch make more of it: PyTorch in float32 is 0.05 away. A wrong one is 1 away.
    tolerance = 0.1

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        images = rng.standard_normal((self.layer.batch, *self.layer.shape)).astype(np.float32)
        return images, rng.integers(0, self.layer.classes, self.layer.batch)

    def _model(self) -> Any:
        from fastcnn import models, nn

        model = getattr(models, self.layer.model)(seed=0)
        for _, layer in model.named_layers():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0  # masks would differ between the peers
        return model

    @staticmethod
    def _ends(model: Any) -> list[Any]:
        """The first and the last layer's gradients."""
        gradients = [p.grad for p in model.parameters() if p.data.ndim > 1]
        return [gradients[0], gradients[-1]]

    def expected(self) -> list[Any]:
        """By layers, in float64, with exact kernels."""
        import fastcnn

        model = self._model().double()
        was = fastcnn.get_exact()
        fastcnn.set_exact(True)
        try:
            x, y = self.data[0].astype(np.float64), self.data[1]
            if self.wrt == "inference":
                return [model(x)]
            self._by_layers(model)(x, y)
            return self._ends(model)
        finally:
            fastcnn.set_exact(was)

    @staticmethod
    def _by_layers(model: Any) -> Any:
        from fastcnn import nn, optim

        loss, optimizer = nn.CrossEntropyLoss(), optim.SGD(model.parameters(), LR, momentum=0.9)

        def step(x: Any, y: Any) -> None:
            outputs, ctx = model.forward(x)
            _, dy = loss(outputs, y)
            optimizer.zero_grad()
            model.backward(dy, ctx, need_dx=False)
            optimizer.step()

        return step

    def candidates(self, names: Sequence[str]) -> dict[str, Candidate]:
        found = super().candidates(names)
        if OURS in names and self.wrt == "training":
            found["layers"] = self._ours(by_layers=True)
        exports = all(map(importlib.util.find_spec, ("onnx", "onnxruntime")))
        if self.wrt == "inference" and "torch" in found and exports:
            found["onnxruntime"] = self._onnxruntime()
        if "torch_compile" in names and have_torch():
            found["torch_compile"] = self.torch(channels_last=False, compiled=True)
        return found

    def ours(self) -> Candidate:
        return self._ours(by_layers=False)

    def _ours(self, by_layers: bool) -> Candidate:
        from fastcnn import nn, optim, plan

        model, (x, y) = self._model(), self.data
        if self.wrt == "inference":
            program = plan.compile(model, self.layer.shape)
            return Candidate(lambda: program(x), lambda result: [result])
        if by_layers:
            step = self._by_layers(model)
        else:
            optimizer = optim.SGD(model.parameters(), LR, momentum=0.9)
            step = plan.compile(
                model, self.layer.shape, loss=nn.CrossEntropyLoss(), optimizer=optimizer
            ).step
        return Candidate(lambda: step(x, y), lambda _: self._ends(model))

    def _torch_net(self) -> Any:
        from . import torch_nets

        return torch_nets.load(getattr(torch_nets, self.layer.model)(), self._model().state_dict())

    def torch(self, channels_last: bool, compiled: bool = False) -> Candidate:
        import torch

        layout = torch.channels_last if channels_last else torch.contiguous_format
        net = self._torch_net().to(memory_format=layout)
        if compiled:
            torch._dynamo.reset()  # else, from the eighth net on, it falls back to eager
            net = torch.compile(net)
        x = torch.from_numpy(self.data[0]).contiguous(memory_format=layout)
        y = torch.from_numpy(self.data[1])
        if self.wrt == "inference":
            net.eval()

            def infer() -> Any:
                with torch.inference_mode():
                    return net(x)

            return Candidate(infer, lambda result: [result.contiguous().numpy()])
        weights = [p for p in net.parameters() if p.ndim > 1]
        ends = [weights[0], weights[-1]]
        optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9)
        loss = torch.nn.CrossEntropyLoss()

        def step() -> None:
            optimizer.zero_grad()
            loss(net(x), y).backward()
            optimizer.step()

        return Candidate(
            step,
            lambda _: [w.grad.contiguous().numpy() for w in ends],
        )

    def _onnxruntime(self) -> Candidate:
        """The exported net, on as many threads as PyTorch has."""
        import onnxruntime
        import torch

        assert have_torch()
        file = io.BytesIO()
        x = self.data[0]
        torch.onnx.export(
            self._torch_net().eval(), (torch.from_numpy(x),), file, dynamo=False,
            input_names=["x"], output_names=["y"],
        )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # its threads would spin while the other candidates are timed
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(
            file.getvalue(), options, providers=["CPUExecutionProvider"]
        )
        return Candidate(lambda: session.run(None, {"x": x}), list)
