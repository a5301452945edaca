"""RMSprop by its formula, clipped gradients, averaged weights."""

import numpy as np
import pytest
from helpers import assert_same_bits

from fastcnn import nn, optim, training

GRADS = [np.random.default_rng(i).normal(size=(3, 4)) for i in range(6)]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rmsprop_by_its_formula(momentum, decay):
    p = nn.Parameter(np.ones((3, 4)), name="p")
    optimizer = optim.RMSprop([p], 0.05, 0.9, 1e-3, decay, momentum)
    w, square, velocity = np.ones((3, 4)), np.zeros((3, 4)), np.zeros((3, 4))
    for grad in GRADS:
        p.grad = grad.copy()
        optimizer.step()
        g = grad + decay * w
        square = 0.9 * square + 0.1 * g**2
        velocity = momentum * velocity + g / (np.sqrt(square) + 1e-3)
        w = w - 0.05 * velocity
        np.testing.assert_array_equal(p.grad, grad)
    np.testing.assert_allclose(p.data, w, rtol=1e-12)
    np.testing.assert_allclose(optimizer.state_dict()["state"]["p"]["square"], square, rtol=1e-12)


def test_rmsprop_defaults_and_limits():
    p = nn.Parameter(np.ones(2, np.float32))
    assert repr(optim.RMSprop([p])) == (
        "RMSprop(1 parameters, lr=0.01, alpha=0.99, eps=1e-08, weight_decay=0.0, momentum=0.0)"
    )
    for options in ({"alpha": 1.5}, {"alpha": -1}, {"eps": -1}, {"momentum": -1}, {"lr": -1}):
        with pytest.raises(ValueError, match="RMSprop: expected"):
            optim.RMSprop([p], **options)
    p.grad = np.ones(2, np.float32)
    optimizer = optim.RMSprop([p])
    optimizer.step()
    assert p.data.dtype == optimizer.state_dict()["state"]["#0"]["square"].dtype == np.float32


def test_rmsprop_keeps_a_velocity_only_with_momentum():
    """Also where the momentum comes later, and through a checkpoint of each kind."""
    p = nn.Parameter(np.ones(2), name="p")
    optimizer = optim.RMSprop([p])
    for momentum, names in ((0.0, {"square"}), (0.9, {"square", "velocity"})):
        optimizer.momentum = momentum
        assert set(optimizer.initial_state(p.data)) == names
        p.grad = np.ones(2)
        optimizer.step()
        saved = optimizer.state_dict()
        assert set(saved["state"]["p"]) == names
        for twin in (optim.RMSprop([p]), optim.RMSprop([p], momentum=0.5)):
            twin.load_state_dict(saved)
            assert twin.momentum == momentum and set(twin.state_dict()["state"]["p"]) == names
        del saved["state"]["p"]["square"]
        saved["state"]["p"]["more"] = 1
        with pytest.raises(ValueError, match="the state of p to have the keys"):
            optimizer.load_state_dict(saved)


# ---------------------------------------------------------------------------------- clipping


def weights():
    ps = [nn.Parameter(np.zeros(2, np.float32), name=n) for n in "abc"]
    ps[0].grad = np.array([3, 0], np.float32)
    ps[1].grad = np.array([0, -4], np.float32)
    ps[2].grad = np.array([100, 100], np.float32)
    ps[2].requires_grad = False
    return ps


def test_clipping_by_norm_is_over_all_that_train():
    ps = weights()
    assert optim.clip_grad_norm(ps, 10.0) == 5.0
    assert ps[0].grad.tolist() == [3, 0]
    assert optim.clip_grad_norm(ps, 2.5) == 5.0
    assert [p.grad.tolist() for p in ps] == [[1.5, 0], [0, -2], [100, 100]]
    assert optim.clip_grad_norm(ps, 0.0) == 2.5
    assert not ps[0].grad.any()
    large = nn.Parameter(np.zeros(2, np.float32))
    large.grad = np.full(2, 3e38, np.float32)  # whose squares float32 does not hold
    assert np.isfinite(optim.clip_grad_norm([large], 1.0))
    np.testing.assert_allclose(large.grad, 0.5**0.5, rtol=1e-6)


def test_clipping_by_value():
    ps = weights()
    optim.clip_grad_value(ps, 3.5)
    assert [p.grad.tolist() for p in ps] == [[3, 0], [0, -3.5], [100, 100]]


def test_what_got_no_gradient_is_left_out():
    p = nn.Parameter(np.zeros(2))
    assert optim.clip_grad_norm([p], 1.0) == 0.0
    optim.clip_grad_value([p], 1.0)
    assert not p.has_grad


def test_a_clipped_optimizer_is_the_optimizer_with_clipped_gradients():
    ps, twins = weights(), weights()
    clipped = optim.Clipped(optim.SGD(ps, lr=0.5, momentum=0.9), norm=1.0, value=3.5)
    plain = optim.SGD(twins, lr=0.5, momentum=0.9)
    for _ in range(3):
        for p, q in zip(ps, twins, strict=True):
            p.grad = q.grad.copy()
        kept = [q.grad.copy() for q in twins]
        clipped.step()
        optim.clip_grad_value(twins, 3.5)
        optim.clip_grad_norm(twins, 1.0)
        plain.step()
        for p, q, grad in zip(ps, twins, kept, strict=True):
            assert_same_bits(p.data, q.data)
            q.grad = grad
    clipped.lr = 0.25
    assert clipped.optimizer.lr == clipped.lr == 0.25
    other = optim.Clipped(optim.SGD(weights(), lr=1.0, momentum=0.9), norm=1.0)
    other.load_state_dict(clipped.state_dict())
    assert other.lr == 0.25
    clipped.zero_grad()
    assert not any(p.has_grad for p in ps)
    assert repr(clipped).startswith("Clipped(SGD(3 parameters") and "norm=1, value=3.5" in repr(
        clipped
    )


def test_a_clipped_state_holds_the_limits():
    def clipped(**limits):
        return optim.Clipped(optim.SGD(weights(), lr=0.5, momentum=0.9), **limits)

    one, plain = clipped(norm=0.01), optim.SGD(weights(), lr=0.5, momentum=0.9)
    one.step()
    saved = one.state_dict()
    with pytest.raises(ValueError, match="expected the state of SGD, got 'Clipped'"):
        plain.load_state_dict(saved)
    other = clipped(norm=7.0, value=8.0)
    for bad, message in (
        (plain.state_dict(), "expected the state of Clipped, got 'SGD'"),
        ({**saved, "settings": {"norm": -1.0, "value": None}}, "norm to be a finite number"),
        ({**saved, "settings": {"norm": None, "value": None}}, "expected norm or value"),
        ({**saved, "settings": {"norm": 1.0}}, "expected settings to have the keys"),
        ({**saved, "inner": {}}, "SGD.load_state_dict: expected the state"),
    ):
        with pytest.raises(ValueError, match=message):
            other.load_state_dict(bad)
        assert (other.norm, other.value) == (7.0, 8.0)
    other.load_state_dict(saved)
    assert (other.norm, other.value) == (0.01, None)
    for name, state in one.optimizer.state_dict()["state"].items():
        for key, a in other.optimizer.state_dict()["state"][name].items():
            assert_same_bits(a, state[key])
    assert set(one.initial_state(np.ones(2))) == {"velocity"}


def test_a_clipped_run_resumes_clipped_alone(tmp_path, rng):
    samples = rng.normal(size=(8, 3)).astype(np.float32), rng.integers(0, 2, 8)

    def start(norm=None):
        model = nn.Linear(3, 2, seed=0)
        optimizer = optim.SGD(model.parameters(), lr=1.0)
        if norm is not None:
            optimizer = optim.Clipped(optimizer, norm=norm)
        return training.Trainer(model, nn.CrossEntropyLoss(), optimizer)

    whole, first, second = start(0.01), start(0.01), start(5.0)
    whole.fit(samples, epochs=2, progress=False)
    first.fit(samples, epochs=1, progress=False)
    first.save_checkpoint(tmp_path / "c")
    with pytest.raises(ValueError, match=r"does not fit this trainer.*of SGD, got 'Clipped'"):
        start().resume(tmp_path / "c")
    second.fit(samples, epochs=2, progress=False, resume=tmp_path / "c")
    assert_same_bits(second.model.weight.data, whole.model.weight.data)


def test_a_trainer_clips_with_a_plan_and_by_layers(rng):
    x, y = rng.normal(size=(40, 1, 6, 6)).astype(np.float32) * 50, rng.integers(0, 3, 40)

    def moved(**options):
        net = nn.Sequential(nn.Conv2d(1, 2, 3, seed=0), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
        before = net.state_dict()
        optimizer = optim.Clipped(optim.SGD(net.parameters(), lr=1.0), norm=0.125)
        trainer = training.Trainer(net, nn.CrossEntropyLoss(), optimizer, **options)
        trainer.fit((x, y), epochs=1, batch_size=40, progress=False)
        after = net.state_dict()
        return sum(((after[n] - before[n]) ** 2).sum() for n in before) ** 0.5

    assert moved() == pytest.approx(0.125, rel=1e-3)
    assert moved(plan=False) == pytest.approx(0.125, rel=1e-3)


def test_limits_are_numbers():
    ps = weights()
    for call in (
        lambda: optim.clip_grad_norm(ps, -1.0),
        lambda: optim.clip_grad_value(ps, np.nan),
        lambda: optim.Clipped(optim.SGD(ps, lr=1.0)),
        lambda: optim.Clipped(optim.SGD(ps, lr=1.0), norm=-1),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()


# ---------------------------------------------------------------------------------- averages


def net():
    return nn.Sequential(fc=nn.Linear(3, 2, seed=0), bn=nn.BatchNorm2d(2))


def test_the_average_follows_by_its_formula(rng):
    model = net()
    average = optim.WeightAverage(model, 0.6)
    expected = model["fc"].weight.data.astype(np.float64)
    for step in range(1, 9):
        model["fc"].weight.data += rng.normal(size=(2, 3)).astype(np.float32)
        model["bn"].running_mean.data += 1
        average.update()
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model["fc"].weight.data
    weights = average.weights()
    np.testing.assert_allclose(weights["fc.weight"], expected, rtol=1e-5)
    np.testing.assert_array_equal(weights["bn.running_mean"], 8)
    assert average.steps == 8


def test_applied_averages_go_again(rng):
    model = net()
    average = optim.WeightAverage(model)
    model["fc"].weight.data += 1
    trained = model.state_dict()
    with pytest.raises(RuntimeError), average.applied() as same:
        assert same is model
        assert (model["fc"].weight.data != trained["fc.weight"]).all()
        raise RuntimeError
    for name, a in model.state_dict().items():
        assert_same_bits(a, trained[name])


def test_an_average_resumes_exactly(rng):
    model = net()
    average = optim.WeightAverage(model, 0.9)
    model["fc"].weight.data += 1
    average.update()
    twin = optim.WeightAverage(net(), 0.9)
    twin.load_state_dict(average.state_dict())
    twin.model.load_state_dict(model.state_dict())
    for one in (average, twin):
        one.model["fc"].weight.data += 2
        one.update()
    for name, a in average.weights().items():
        assert_same_bits(a, twin.weights()[name])
    for bad in ({}, {"steps": 1, "weights": {}}, {"steps": "1", "weights": average.weights()}):
        with pytest.raises(ValueError, match="WeightAverage"):
            average.load_state_dict(bad)
    with pytest.raises(ValueError, match=r"decay in 0\.\.1"):
        optim.WeightAverage(model, 1.5)
