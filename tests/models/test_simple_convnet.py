"""SimpleConvNet's interface of the lecture: what its methods say, and what they leave alone."""

import numpy as np
import pytest
from helpers import assert_same, assert_same_bits

from fastcnn import models, nn, optim, plan, training


def small(**options):
    conv = {"filter_num": 4, "filter_size": 3}
    return models.SimpleConvNet((1, 9, 9), conv, hidden_size=5, output_size=3, **options)


@pytest.fixture
def batch():
    rng = np.random.default_rng(5)
    return rng.random((7, 1, 9, 9), np.float32), rng.integers(0, 3, 7)


def test_names_shapes_and_an_odd_output_of_the_convolution():
    params = small().params  # 9 - 3 + 1 = 7, which a pool of 2 cuts to 3
    shapes = {name: array.shape for name, array in params.items()}
    assert shapes == {
        "W1": (4, 1, 3, 3), "b1": (4,), "W2": (5, 36), "b2": (5,), "W3": (3, 5), "b3": (3,),
    }  # fmt: skip
    net = models.SimpleConvNet((3, 8, 8), {"pad": 2, "stride": 2, "filter_num": 6})
    assert net.output_shape((3, 8, 8)) == (10,)
    with pytest.raises(ValueError, match=r"expected conv_param with filter_num.*got filters"):
        models.SimpleConvNet(conv_param={"filters": 3})


def test_initial_weights():
    lecture, fast = models.SimpleConvNet(), models.simple_convnet()
    assert abs(lecture.params["W2"].std() - 0.01) < 1e-4
    assert fast.params["W2"].std() > 0.02 and not lecture.params["b1"].any()


def test_loss_and_accuracy_take_classes_and_one_hot_vectors(batch):
    net, (x, t) = small(weight_init_std=None), batch
    one_hot = np.eye(3, dtype=np.float32)[t]
    expected, _ = nn.CrossEntropyLoss()(net(x), t)
    assert net.loss(x, t) == expected
    assert net.loss(x, one_hot) == pytest.approx(expected, rel=1e-6)
    answers = net.predict(x).argmax(1)
    wrong = answers.copy()
    wrong[-1] = (wrong[-1] + 1) % 3  # in the last, partial batch
    for size in (1, 2, 100):
        assert net.accuracy(x, answers, size) == 1
        assert net.accuracy(x, wrong, size) == 6 / 7
    assert net.accuracy(x, np.eye(3)[wrong]) == 6 / 7


def test_gradients_agree_and_the_net_is_left_as_it_was(batch):
    net, (x, t) = small(weight_init_std=None).double(), batch
    x = x.astype(np.float64)
    net["fc2"].bias.grad = np.full(3, 7.0)
    before = {name: a.copy() for name, a in net.params.items()}
    exact, numeric = net.gradient(x, t), net.numerical_gradient(x, t)
    for name, array in net.params.items():
        assert_same(array, before[name])
        assert abs(exact[name]).max() > 1e-3
        np.testing.assert_allclose(numeric[name], exact[name], atol=1e-8)
    assert_same(net["fc2"].bias.grad, np.full(3, 7.0))
    assert not net["fc1"].weight.has_grad
    numeric["b3"] += 1
    assert exact["b3"].sum() < 1  # arrays of their own


def test_files(tmp_path):
    net, other = small(seed=1), small(seed=2)
    net.save_params(tmp_path / "params.safetensors")
    other.load_params(tmp_path / "params.safetensors")
    assert training.weights_sha256(net) == training.weights_sha256(other)
    with pytest.raises(ValueError, match="does not fit the model"):
        models.SimpleConvNet().load_params(tmp_path / "params.safetensors")


def test_a_plan_runs_it_as_the_chain_that_it_is(batch):
    net, (x, t) = small(), batch
    assert isinstance(net, nn.Sequential) and type(net[1:]) is nn.Sequential
    chain = nn.Sequential({name: node.layer for name, node in small().nodes.items()})
    results = []
    for model in (net, chain):
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        program = plan.compile(model, (1, 9, 9), loss=nn.CrossEntropyLoss(), optimizer=optimizer)
        assert isinstance(program, plan.BlockPlan)
        program.step(x, t)
        results.append(model.state_dict())
    for name, array in results[0].items():
        assert_same_bits(array, results[1][name])


def test_a_subclass_with_a_call_of_its_own_is_not_taken_for_its_graph(batch):
    class Doubled(models.SimpleConvNet):
        def __call__(self, x):
            return 2 * super().__call__(x)

    net, (x, _) = Doubled((1, 9, 9), {"filter_size": 3}), batch
    program = plan.compile(net, (1, 9, 9))
    assert not isinstance(program, plan.BlockPlan)
    assert_same(np.asarray(program(x)), net(x))


def test_params_can_be_assigned_as_in_the_book():
    net, other = small(), models.SimpleConvNet(seed=9)
    array = net.params["W2"]
    net.params["W2"] = np.full(array.shape, 0.25)
    assert array is net.params["W2"] and array.dtype == np.float32 and (array == 0.25).all()
    with pytest.raises(ValueError, match=r"expected W2 of shape .*, got \(3,\)"):
        net.params["W2"] = np.zeros(3)
    with pytest.raises(KeyError, match="expected one of W1, b1, W2, b2, W3, b3, got 'W4'"):
        net.params["W4"] = 0.0
    assert (array == 0.25).all() and len(other.params) == 6
