"""Graphs with auxiliary heads, their loss, and crops in graphs: training and inference differ."""

import numpy as np
import pytest
from helpers import assert_same, integers, normal

from fastcnn import nn, optim, testing, training


def net(seed=0):
    rng = np.random.default_rng(seed)
    return nn.AuxiliaryGraph(
        "x",
        {
            "flat": (nn.Flatten(), "x"),
            "a": (nn.Linear(6, 5, seed=rng), "flat"),
            "tanh": (nn.Tanh(), "a"),
            "b": (nn.Linear(5, 4, seed=rng), "tanh"),
            "main": (nn.Linear(4, 3, seed=rng), "b"),
            "head": (nn.Sigmoid(), "tanh"),
            "aux": (nn.Linear(5, 3, seed=rng), "head"),
        },
        ("main", "aux"),
    )


def test_gradients(rng):
    testing.gradcheck(net(), normal(rng, (2, 6, 1, 1), np.float64))


def test_inference_is_the_first_output_and_runs_no_head(rng, monkeypatch):
    graph, x = net(), normal(rng, (4, 6, 1, 1), np.float32)
    outputs, _ = graph.forward(x)
    assert list(outputs) == ["main", "aux"]
    monkeypatch.delattr(nn.Sigmoid, "forward")  # the head's
    assert_same(graph(x), outputs["main"])
    assert graph.output_shape((6, 1, 1)) == (3,)


def test_the_loss_is_the_weighted_sum(rng):
    outputs = {"main": rng.normal(size=(4, 3)), "aux": rng.normal(size=(4, 3))}
    classes = np.array([0, 2, 1, 1])
    inner = nn.CrossEntropyLoss("sum")
    loss = nn.AuxiliaryLoss(inner, 0.25)
    value, gradient = loss(outputs, classes)
    (main, dmain), (aux, daux) = (inner(o, classes) for o in outputs.values())
    assert value == pytest.approx(main + 0.25 * aux)
    assert_same(gradient["main"], dmain)
    assert_same(gradient["aux"], 0.25 * daux)
    assert loss(outputs["main"], classes)[0] == main
    assert loss.reduction == "sum"
    assert repr(loss) == "AuxiliaryLoss(CrossEntropyLoss(reduction='sum'), weight=0.25)"


def test_losses_and_weights_by_name(rng):
    outputs = {"main": rng.normal(size=(4, 3)), "aux": rng.normal(size=(4, 3))}
    classes, inner = np.array([0, 2, 1, 1]), {"main": nn.CrossEntropyLoss(), "aux": nn.MSELoss()}
    values = {name: inner[name](output, classes) for name, output in outputs.items()}
    for weight, main, aux in (({"aux": 0.5}, 1, 0.5), ({"aux": 2.0, "main": 0.25}, 0.25, 2)):
        loss = nn.AuxiliaryLoss(inner, weight)
        value, gradient = loss(outputs, classes)
        assert value == pytest.approx(main * values["main"][0] + aux * values["aux"][0])
        assert_same(gradient["main"], main * values["main"][1])
        assert_same(gradient["aux"], aux * values["aux"][1])
        assert loss(outputs["main"], classes)[0] == values["main"][0]


def test_names_of_no_output_are_refused(rng):
    outputs = {"main": np.zeros((1, 3)), "aux": np.zeros((1, 3))}
    ce, classes = nn.CrossEntropyLoss(), np.array([0])
    for losses in ({"main": ce}, {"aux": ce, "main": ce}, {"main": ce, "head": ce}):
        with pytest.raises(ValueError, match="losses of the outputs main, aux, the first one"):
            nn.AuxiliaryLoss(losses)(outputs, classes)
    for weights in ({"main": 1.0}, {"aux": 1.0, "head": 1.0}):
        with pytest.raises(ValueError, match="weights of the outputs main, aux"):
            nn.AuxiliaryLoss(ce, weights)(outputs, classes)
    with pytest.raises(ValueError, match=r"weight\['aux'\] to be a finite number >= 0, got -1"):
        nn.AuxiliaryLoss(ce, {"aux": -1})
    with pytest.raises(ValueError, match="losses of one reduction"):
        nn.AuxiliaryLoss({"main": ce, "aux": nn.MSELoss("sum")})


@pytest.mark.parametrize(
    "kind",
    [nn.CrossEntropyLoss, nn.MSELoss, nn.NLLLoss, nn.FocalLoss, nn.BinaryFocalLoss,
     nn.ProbabilityCrossEntropyLoss],
)  # fmt: skip
def test_a_loss_of_one_output_names_what_takes_several(kind):
    outputs = {"main": np.zeros((1, 3)), "aux": np.zeros((1, 3))}
    with pytest.raises(
        TypeError, match=rf"of the outputs main, aux; AuxiliaryLoss\({kind.__name__}"
    ):
        kind()(outputs, np.array([0]))


def test_a_trainer_trains_all_outputs(rng):
    x, y = normal(rng, (60, 6, 1, 1), np.float32), rng.integers(0, 3, 60)
    x[:, :3, 0, 0] += 4 * np.eye(3, dtype=np.float32)[y]
    model = net()
    before = model.state_dict()
    trainer = training.Trainer(
        model,
        nn.AuxiliaryLoss(nn.CrossEntropyLoss()),
        optim.SGD(model.parameters(), lr=0.2, momentum=0.9),
    )
    history = trainer.fit((x, y), epochs=8, batch_size=10, progress=False)
    assert history.train_accuracy[-1] > 0.9
    assert all((model.state_dict()[name] != a).any() for name, a in before.items())
    assert trainer.evaluate((x, y)).accuracy > 0.9


def test_one_output_is_not_enough():
    with pytest.raises(ValueError, match="several outputs"):
        nn.AuxiliaryGraph("x", {"a": (nn.ReLU(), "x")}, "a")
    with pytest.raises(ValueError, match="weight"):
        nn.AuxiliaryLoss(nn.MSELoss(), -1)


def test_crop_in_a_graph(rng):
    graph = nn.Graph(
        "x",
        {
            "up": (nn.ConvTranspose2d(2, 2, 4, 2, 1, seed=0), "x"),
            "crop": (nn.CropLike(), "up", "x"),
            "sum": (nn.Add(), "crop", "x"),
        },
        "sum",
    )
    testing.gradcheck(graph, normal(rng, (2, 2, 3, 4), np.float64))
    x = integers(rng, (1, 2, 5, 6), np.float32)
    crop = nn.CropLike()
    y, ctx = crop.forward((x, x[:, :1, :3, :4]))
    assert_same(np.ascontiguousarray(y), x[:, :, :3, :4])
    dx, nothing = crop.backward(y, ctx)
    assert dx.shape == x.shape and nothing.shape == (1, 1, 3, 4) and not nothing.any()
    assert dx.sum() == y.sum()
    assert crop.backward(y, ctx, need_dx=False) is None
    with pytest.raises(ValueError, match="at least 6x6"):
        crop((x, np.zeros((1, 1, 6, 6))))


def test_unflatten_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="expected 12 numbers"):
        nn.Unflatten((3, 4))(np.zeros((2, 13)))
    assert repr(nn.Unflatten((3, 4))) == "Unflatten((3, 4))"
