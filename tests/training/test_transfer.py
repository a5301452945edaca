"""Transfer learning: cached features, heads trained on them, rates by group through a fit."""

import copy

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits

from fastcnn import data, models, nn, optim, training


@pytest.fixture(scope="module")
def digits():
    train, _ = data.mnist(subset=True)
    return train[:96]


def fit(model, optimizer, samples, **options):
    trainer = training.Trainer(model, nn.CrossEntropyLoss(), optimizer, seed=1, **options)
    trainer.fit(samples, epochs=2, batch_size=32, progress=False)
    return trainer


def test_features_are_the_layers_outputs(digits):
    model = models.lenet5(seed=0)
    cached = training.features(model, digits, "relu4", batch_size=50)
    assert_same_bits(cached.x, model.activations(digits.x)["relu4"])
    np.testing.assert_array_equal(cached.y, digits.y)
    assert cached.classes == digits.classes
    assert_same_bits(training.features(model, digits).x, model(digits.x))
    with pytest.raises(TypeError, match="expected a Graph"):
        training.features(model["fc1"], digits, "fc1")
    with pytest.raises(ValueError, match="no node 'pool9'"):
        training.features(model, digits, "pool9")
    with pytest.raises(ValueError, match="at least one sample"):
        training.features(model, digits[:0], "fc1")


def test_features_of_several_outputs_want_a_layer(digits):
    layers = {name: (nn.Linear(784, n, seed=n), "flat") for name, n in (("a", 3), ("b", 2))}
    model = nn.Graph("x", {"flat": (nn.Flatten(), "x"), **layers}, ("a", "b"))
    with pytest.raises(ValueError, match="model of one output, got a, b; layer='a' would choose"):
        training.features(model, digits)
    assert_same_bits(training.features(model, digits, "b").x, model(digits.x)["b"])


@pytest.mark.parametrize("plan", [True, False])
def test_a_head_on_cached_features_is_the_net_with_a_frozen_base(digits, plan):
    """Batch norm in the base: frozen, it computes in training what it does in inference."""
    base = nn.Sequential(
        conv=nn.Conv2d(1, 4, 5, 2, seed=0),
        bn=nn.BatchNorm2d(4),
        relu=nn.ReLU(),
        flat=nn.Flatten(),
        fc=nn.Linear(576, 7, seed=1),
    )
    base["bn"].running_mean.data[:] = 0.25
    whole = copy.deepcopy(base).freeze(before="fc").replace("fc", nn.Linear(576, 10, seed=2))
    before = whole.state_dict()
    fit(whole, optim.SGD(whole.parameters(), lr=0.1, momentum=0.9), digits, plan=plan)
    head = nn.Linear(576, 10, seed=2)
    cached = training.features(base, digits, "flat")
    fit(head, optim.SGD(head.parameters(), lr=0.1, momentum=0.9), cached, plan=plan)
    assert_close(head.weight.data, whole["fc"].weight.data, 1e-4)
    for name, a in whole.state_dict().items():
        if not name.startswith("fc"):
            assert_same_bits(a, before[name])


@pytest.mark.parametrize("plan", [True, False])
def test_frozen_lenet(digits, plan):
    """A block plan freezes too."""
    model = models.lenet5(seed=0).freeze("conv*", "fc1")
    before = model.state_dict()
    trainer = fit(model, optim.Adam(model.parameters(), weight_decay=0.1), digits, plan=plan)
    assert trainer.execution.startswith("plan" if plan else "layers")
    changed = {name for name, a in model.state_dict().items() if (a != before[name]).any()}
    assert changed == {"fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias"}


def halves(t):
    return 1.0 if t < 0.5 else 0.5


@pytest.mark.parametrize("plan", [True, False])
def test_a_schedule_scales_the_rate_of_each_group(digits, plan):
    """Against two optimizers, one a group, driven by hand."""
    ours, theirs = models.lenet5(seed=0), models.lenet5(seed=0)
    groups = ours.parameter_groups({"conv*": 0.025, "fc3": 0.1})
    optimizer = optim.SGD(groups, lr=0.05, momentum=0.9)
    loader = data.DataLoader(digits, 32, shuffle=True, seed=1)
    fit(ours, optimizer, digits, plan=plan, schedule=halves)
    parts = {"conv": 0.025, "fc1": 0.05, "fc2": 0.05, "fc3": 0.1}
    each = [
        optim.SGD([p for p in theirs.parameters() if p.name.startswith(k)], lr=rate, momentum=0.9)
        for k, rate in parts.items()
    ]
    rates = [o.lr for o in each]
    for epoch in range(2):
        for o, rate in zip(each, rates, strict=True):
            o.lr = rate * (1.0 if epoch == 0 else 0.5)
        for x, y in loader:
            theirs.zero_grad()
            outputs, ctx = theirs.forward(x)
            theirs.backward(nn.CrossEntropyLoss()(outputs, y)[1], ctx, need_dx=False)
            for o in each:
                o.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(p.data, q.data, 1e-4)
    assert optimizer.lr == 0.05


def test_groups_without_a_rate_of_the_optimizer_resume_exactly(digits, tmp_path):
    def start():
        model = models.lenet5(seed=0).freeze("conv1")
        groups = [
            {"params": model["conv2"].parameters(), "lr": 0.003},
            {"params": [p for k in ("fc1", "fc2", "fc3") for p in model[k].parameters()],
             "lr": 0.07},
        ]  # fmt: skip
        trainer = training.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(groups, momentum=0.9))
        return model, trainer

    whole, trainer = start()
    trainer.fit(digits, epochs=2, batch_size=32, progress=False)
    _, trainer = start()
    stop = training.Checkpoint(tmp_path / "half")
    trainer.fit(digits, epochs=1, batch_size=32, progress=False, callbacks=[stop])
    rest, trainer = start()
    trainer.fit(digits, epochs=2, batch_size=32, progress=False, resume=tmp_path / "half")
    for p, q in zip(whole.parameters(), rest.parameters(), strict=True):
        assert_same_bits(p.data, q.data)
