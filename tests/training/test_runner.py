"""Trainer by a plan and by layers: the choice, and that both come to the same."""

from typing import Any

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits

import fastcnn
from fastcnn import models, nn, optim, training


def data(n: int = 70) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((n, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, n)


def trainer_for(model: nn.Layer, **options: object) -> training.Trainer:
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return training.Trainer(model, nn.CrossEntropyLoss(), optimizer, **options)  # type: ignore[arg-type]


def test_a_plan_is_the_default_where_it_can_be() -> None:
    trainer = trainer_for(models.lenet5(seed=1))
    assert trainer.execution == "not run yet"
    trainer.fit(data(), epochs=1, progress=False)
    assert trainer.execution == "plan"


class Own(nn.Layer):
    """A net that no plan knows."""

    def __init__(self) -> None:
        self.fc = nn.Linear(784, 10, seed=1)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        return self.fc.forward(x.reshape(len(x), -1))

    def backward(self, dy: np.ndarray, ctx: Any) -> np.ndarray:
        dx = self.fc.backward(dy, ctx)
        assert dx is not None
        return dx.reshape(len(dy), 1, 28, 28)


def test_layers_run_what_no_plan_knows() -> None:
    trainer = trainer_for(Own())
    trainer.fit(data(), epochs=1, progress=False)
    assert trainer.execution == "layers (no layer that a plan knows)"
    outputs = trainer.predict(data()[0])
    planned = trainer_for(Own(), plan=True)
    planned.fit(data(), epochs=1, progress=False)
    assert planned.execution == "plan"
    assert_same_bits(planned.predict(data()[0]), outputs)


def test_what_does_not_fit_is_said_by_the_layers() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(100, 10))
    with pytest.raises(ValueError, match="Linear"):
        trainer_for(net).fit(data(), epochs=1, progress=False)
    with pytest.raises(ValueError, match="plan: layer '1': Linear"):
        trainer_for(net, plan=True).fit(data(), epochs=1, progress=False)


def test_plan_false_runs_layers() -> None:
    trainer = trainer_for(models.dmlp(), plan=False)
    trainer.fit(data(), epochs=1, progress=False)
    assert trainer.execution == "layers (plan=False)"
    with pytest.raises(ValueError, match="expected plan to be"):
        trainer_for(models.dmlp(), plan="yes")


def test_both_come_to_the_same() -> None:
    x, y = data()
    trainers = [trainer_for(models.lenet5(seed=1), plan=wanted) for wanted in (True, False)]
    histories = [
        t.fit((x, y), epochs=3, batch_size=16, validation=0.2, progress=False) for t in trainers
    ]
    assert trainers[0].execution == "plan"
    for name in ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy"):
        a, b = (getattr(h, name) for h in histories)
        np.testing.assert_allclose(a, b, rtol=1e-3)
    for p, q in zip(*(t.model.parameters() for t in trainers), strict=True):
        assert_close(p.data, q.data, 1e-3)
    assert_close(trainers[0].predict(x), trainers[1].predict(x), 1e-3)
    assert trainers[0].evaluate((x, y)).loss == pytest.approx(trainers[1].evaluate((x, y)).loss)


def test_same_bits_at_any_thread_count() -> None:
    results = []
    for threads in (1, 2, 3, 8):
        with fastcnn.threads(threads):
            trainer = trainer_for(models.lenet5(seed=1))
            trainer.fit(data(), epochs=2, batch_size=32, progress=False)
            results.append(np.concatenate([p.data.ravel() for p in trainer.model.parameters()]))
    for other in results[1:]:
        assert_same_bits(other, results[0])


def test_a_changed_layer_is_seen_by_the_next_fit() -> None:
    net = nn.Sequential(flat=nn.Flatten(), fc=nn.Linear(784, 10, seed=1))
    trainer = trainer_for(net)
    before = trainer.predict(data()[0])
    net.nodes["fc"] = net.nodes["fc"]._replace(layer=nn.Linear(784, 10, seed=2))
    assert np.abs(trainer.predict(data()[0]) - before).max() > 0.1


def two_heads() -> nn.Graph:
    heads = {name: (nn.Linear(784, n, seed=n), "flat") for name, n in (("a", 10), ("b", 2))}
    return nn.Graph("x", {"flat": (nn.Flatten(), "x"), **heads}, ("a", "b"))


@pytest.mark.parametrize("plan", [True, False])
def test_several_outputs_are_predicted_by_name(plan: bool) -> None:
    x, _ = data()
    model = two_heads()
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    trainer = training.Trainer(model, nn.AuxiliaryLoss(nn.CrossEntropyLoss()), optimizer, plan=plan)
    outputs = trainer.predict(x, batch_size=32)
    assert list(outputs) == ["a", "b"]
    for name, array in model(x).items():
        assert_same_bits(outputs[name], array)
    assert trainer.predict(x[:0])["b"].shape == (0, 2)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_loss_that_raises_moves_no_statistics(error: type[BaseException]) -> None:
    model = nn.Sequential(bn=nn.BatchNorm2d(1), flat=nn.Flatten(), fc=nn.Linear(784, 10, seed=0))

    def loss(outputs: Any, targets: Any) -> Any:
        raise error

    optimizer = optim.SGD(model.parameters(), lr=0.01)
    trainer = training.Trainer(model, loss, optimizer, plan=False)
    before = model.state_dict()
    with pytest.raises(error):
        trainer.fit(data(), epochs=1, progress=False)
    for name, value in model.state_dict().items():
        assert_same_bits(value, before[name])


def test_a_plan_stops_at_a_loss_that_is_not_finite() -> None:
    x, y = data()
    x[3, 0, 0, 0] = np.nan
    trainer = trainer_for(models.lenet5(seed=1), plan=True)
    before = trainer.model.state_dict()
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 1"):
        trainer.fit((x, y), epochs=1, batch_size=70, progress=False)
    for name, value in trainer.model.state_dict().items():
        assert_same_bits(value, before[name])
