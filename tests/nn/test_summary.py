"""summary: counts, receptive fields and bytes against hand-worked nets; messages; strict mode."""

import numpy as np
import pytest

from fastcnn import models, nn, optim


def rows(net, shape, **options):
    return {row.name: row for row in net.summary(shape, **options).rows}


def test_counts_and_bytes_of_a_convolution():
    row = rows(nn.Conv2d(3, 10, 5, padding=2), (3, 32, 32), batch_size=4)["conv2d"]
    assert row.kind == "Conv2d" and row.output_shape == (10, 32, 32)
    assert row.parameters == row.trainable == 760
    assert row.multiply_adds == 10 * 32 * 32 * 3 * 25
    assert row.receptive_field == (5, 5)
    assert row.activation_bytes == 4 * 10 * 32 * 32 * 4
    assert row.parameter_bytes == 760 * 4


def test_groups_divide_the_work():
    whole, halves = nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 3, groups=2)
    assert whole.multiply_adds((4, 8, 8)) == 2 * halves.multiply_adds((4, 8, 8))


def test_float64_takes_twice_the_bytes():
    net = nn.Linear(4, 2)
    single = net.summary((4,))
    double = net.double().summary((4,))
    assert double.parameter_bytes == 2 * single.parameter_bytes == 80
    assert double.activation_bytes == 2 * single.activation_bytes == 2 * 4 * (4 + 2)


@pytest.mark.parametrize(
    "layers, field",
    [
        ([nn.Conv2d(1, 1, 3)] * 2, (5, 5)),
        ([nn.Conv2d(1, 1, 3)] * 3, (7, 7)),
        ([nn.Conv2d(1, 1, 3, dilation=2)], (5, 5)),
        ([nn.Conv2d(1, 1, (1, 3), (1, 2)), nn.Conv2d(1, 1, 3)], (3, 7)),
        ([nn.Conv2d(1, 1, 7, 2), nn.MaxPool2d(3, 2), nn.Conv2d(1, 1, 3)], (19, 19)),
        ([nn.MaxPool2d(2), nn.ReLU(), nn.AvgPool2d(2)], (4, 4)),
        ([nn.MaxPool2d(2), nn.GlobalAvgPool2d()], (32, 32)),
        ([nn.Conv2d(1, 1, 3), nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(1, 1)], (32, 32)),
        ([nn.Conv2d(1, 1, 3, 1, 1), nn.Flatten(), nn.Linear(1024, 2), nn.Linear(2, 2)], (34, 34)),
    ],
)
def test_receptive_field(layers, field):
    assert nn.Sequential(*layers).summary((1, 32, 32)).rows[-1].receptive_field == field


@pytest.mark.parametrize("path", ["conv", "pool"])
def test_receptive_field_is_what_changes_the_output(path, rng):
    """Perturb each pixel: exactly those in the field move the middle output element."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, seed=0),
        nn.AvgPool2d(2) if path == "pool" else nn.Conv2d(2, 2, 2, 2, seed=1),
        nn.Conv2d(2, 1, 3, seed=2),
    ).double()
    x = rng.normal(size=(1, 1, 18, 18))
    base = net(x)[0, 0]
    mid = base.shape[0] // 2
    moved = np.zeros((18, 18), bool)
    for at in np.ndindex(18, 18):
        nudged = x.copy()
        nudged[0, 0][at] += 1
        moved[at] = net(nudged)[0, 0, mid, mid] != base[mid, mid]
    height, width = net.summary((1, 18, 18)).rows[-1].receptive_field
    assert moved.any(1).sum() == height and moved.any(0).sum() == width


def test_branches_take_the_larger_field():
    net = nn.Graph(
        "x",
        {
            "a": (nn.Conv2d(1, 2, 1), "x"),
            "b": (nn.Conv2d(1, 3, 5, padding=2), "x"),
            "cat": (nn.Concat(), "a", "b"),
        },
        outputs="cat",
    )
    row = rows(net, (1, 9, 9))["cat"]
    assert row.output_shape == (5, 9, 9) and row.receptive_field == (5, 5)


def test_totals_are_sums_and_shared_layers_count_once():
    shared = nn.Linear(4, 4)
    summary = nn.Sequential(a=shared, b=shared).summary((4,), batch_size=3)
    assert summary.parameters == summary.trainable == 20
    assert [row.parameters for row in summary.rows] == [20, 0]
    assert summary.multiply_adds == 32
    assert summary.activation_bytes == 3 * 4 * (4 + 4 + 4)
    assert nn.Sequential(a=shared, b=shared).multiply_adds((4,)) == 32


def test_frozen_parameters_are_told():
    net = models.lenet5("1998")
    summary = net.summary((1, 28, 28))
    assert (summary.parameters, summary.trainable) == (60_840, 60_000)
    assert str(summary).endswith("60,000 parameters are trained, 840 are frozen")


def test_training_memory_is_the_sum_of_its_parts():
    """A step holds weights, activations, the gradients of both, and the optimizer's states."""
    summary = nn.Sequential(a=nn.Linear(4, 3), b=nn.ReLU()).summary((4,), batch_size=5)
    weights, activations = 4 * (4 * 3 + 3), 4 * 5 * (4 + 3 + 3)
    for states in (0, 1, 2):
        told = summary.training_bytes(states=states)
        assert told == (weights, weights, states * weights, activations, activations)
        assert told.total == (2 + states) * weights + 2 * activations
    assert summary.training_bytes() == summary.training_bytes(states=1)
    assert str(summary.training_bytes(states=0)) == (
        "520 B: weights 60 B, gradients 60 B, activations 200 B, their gradients 200 B"
    )


def test_frozen_parameters_have_no_gradients_and_no_states():
    net = models.lenet5("1998")
    summary = net.summary((1, 28, 28))
    assert summary.trainable_bytes == 4 * 60_000
    told = summary.training_bytes(states=2)
    assert told[:3] == (4 * 60_840, 4 * 60_000, 8 * 60_000)
    net.freeze()
    told = net.summary((1, 28, 28)).training_bytes(states=2)
    assert told[:3] == (4 * 60_840, 0, 0)
    lines = str(nn.ReLU().summary((4,))).splitlines()
    assert lines[-1] == "training takes about 64 B"


def test_training_memory_is_that_of_a_step():
    """Arrays of a pass by the layers, gradients and states, each counted once."""
    net = nn.Sequential(nn.Linear(6, 5, seed=0), nn.Sigmoid(), nn.Linear(5, 4, seed=1))
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x = np.ones((3, 6), np.float32)
    y, context = net.forward(x)
    net.backward(np.ones_like(y), context)
    optimizer.step()
    told = net.summary((6,), batch_size=3).training_bytes()
    assert told.weights == sum(p.data.nbytes for p in net.parameters())
    assert told.gradients == sum(p.grad.nbytes for p in net.parameters())
    kept = optimizer.state_dict()["state"].values()
    assert told.optimizer == sum(a.nbytes for state in kept for a in state.values())
    assert told.activations == 4 * 3 * (6 + 5 + 5 + 4)


@pytest.mark.parametrize("states", [-1, 1.5, "2"])
def test_states_of_an_optimizer_are_counted(states):
    with pytest.raises((ValueError, TypeError), match="training_bytes: expected states"):
        nn.ReLU().summary((3,)).training_bytes(states=states)


def test_printed_table():
    text = repr(nn.Sequential(conv=nn.Conv2d(1, 2, 3), flat=nn.Flatten()).summary((1, 5, 5)))
    assert text.splitlines() == [
        "Sequential on 1x5x5, batch of 1",
        "layer  kind     output  parameters  multiply-adds  field  activations  weights",
        "conv   Conv2d    2x3x3          20            162    3x3         72 B     80 B",
        "flat   Flatten      18           0              0    3x3         72 B      0 B",
        "total                           20            162               244 B     80 B",
        "training takes about 648 B with gradients, and 80 B for each state of the optimizer",
    ]


def test_big_numbers_have_units():
    from fastcnn.nn.summary import shown_bytes

    assert [shown_bytes(n) for n in (0, 1023, 1024, 150 * 1024, 5 * 2**20, 2**31, 3 * 2**50)] == [
        "0 B", "1,023 B", "1.0 KiB", "150 KiB", "5.0 MiB", "2.0 GiB", "3,072 TiB",
    ]  # fmt: skip


def test_several_inputs():
    net = nn.Graph(("a", "b"), {"cat": (nn.Concat(), "a", "b")}, outputs="cat")
    summary = net.summary({"b": (3, 2, 2), "a": (1, 2, 2)})
    assert summary.rows[0].output_shape == (4, 2, 2)
    assert "on b 3x2x2, a 1x2x2," in str(summary)
    for wrong in ((1, 2, 2), {"a": (1, 2, 2)}):
        with pytest.raises(ValueError, match="of a, b"):
            net.summary(wrong)


@pytest.mark.parametrize(
    "net, shape, message",
    [
        (
            nn.Sequential(c1=nn.Conv2d(1, 6, 5), c2=nn.Conv2d(8, 16, 5)),
            (1, 28, 28),
            r"layer 'c2': Conv2d: expected 8 input channels, got 6.*Conv2d\(6, 16, ...\) would fit",
        ),
        (
            nn.Sequential(c1=nn.Conv2d(1, 6, 5), pool=nn.MaxPool2d(2), c2=nn.Conv2d(6, 6, 5)),
            (1, 11, 28),
            "layer 'c2': Conv2d: .*padding 1 or H >= 5 would fit",
        ),
        (
            nn.Sequential(body=nn.Sequential(f=nn.Flatten(), fc=nn.Linear(400, 120))),
            (16, 6, 6),
            r"layer 'body.fc': Linear: expected 400 .* got 576; Linear\(576, 120\) would fit",
        ),
        (nn.Linear(3, 2), (1, 3), r"^Linear: expected .*Flatten"),
        (nn.Linear(3, 2), 3, r"summary: expected a shape such as \(1, 28, 28\), got 3"),
        (nn.Linear(3, 2), (-3,), "summary: expected input_shape"),
    ],
)
def test_errors_name_the_layer_and_what_would_fit(net, shape, message):
    with pytest.raises(ValueError, match=message):
        net.summary(shape)


def test_output_shape_names_the_layer_too():
    with pytest.raises(ValueError, match="layer 'fc': Linear"):
        nn.Sequential(fc=nn.Linear(3, 2)).output_shape((4,))


def test_strict_mode():
    net = nn.Sequential(conv=nn.Conv2d(1, 1, 3, stride=2), pool=nn.MaxPool2d(2))
    assert net.summary((1, 11, 11), strict=False).rows[-1].output_shape == (1, 2, 2)
    with pytest.raises(ValueError, match="layer 'pool': MaxPool2d: the window leaves a remainder"):
        net.summary((1, 11, 11), strict=True)
    with pytest.raises(ValueError, match=r"layer 'conv': .* along W"):
        net.summary((1, 11, 12), strict=True)
    exact = net.summary((1, 9, 13), strict=True)
    assert exact.rows[-1].output_shape == (1, 2, 3)
    ceil = nn.MaxPool2d(2, ceil_mode=True)
    assert ceil.summary((1, 5, 5), strict=True).rows[0].output_shape == (1, 3, 3)


@pytest.mark.parametrize(
    "layer, shape, advice",
    [
        (nn.MaxPool2d(3, 3), (1, 5, 8), r"padding=\(\(0, 1\), \(0, 1\)\) would fit and give 2x3"),
        (nn.MaxPool2d(3, 3), (1, 7, 7), "padding=1 would fit and give 3x3"),
        (nn.AvgPool2d(3, 4), (1, 9, 11), "an input of 7x11 would fit"),
        (nn.Conv2d(1, 1, 3, 2**31 - 1), (1, 9, 9), "would fit and give 2x2"),
    ],
)
def test_strict_advice_keeps_to_what_the_layer_takes(layer, shape, advice):
    with pytest.raises(ValueError, match=advice):
        layer.summary(shape, strict=True)


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="batch_size"):
        nn.ReLU().summary((3,), batch_size=0)


def test_nothing_runs(monkeypatch):
    """VGG-sized input, no memory touched: only shapes are worked out."""
    net = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1, seed=0) for _ in range(3)])
    monkeypatch.delattr("fastcnn.ops.conv2d")
    summary = net.summary((1, 2**20, 2**20), batch_size=1000)
    assert summary.activation_bytes == 4 * 4 * 1000 * 2**40


class Double(nn.Layer):
    """A layer of one's own that does not say its output shape."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.inner = nn.Linear(3, 4, seed=0)
        self.seen = []

    def forward(self, x):
        self.seen.append((x.dtype, x.shape, x.any()))
        self.rng.random()
        return np.concatenate([self.inner(x)] * 2, axis=1), None


def test_a_layer_without_output_shape_is_run():
    layer = Double()
    state = layer.rng_state()
    row = nn.Sequential(fc=nn.Linear(2, 3), own=layer).summary((2,)).rows[1]
    assert row.output_shape == (8,) and row.parameters == 3 * 4 + 4
    assert layer.seen == [(np.float32, (1, 3), False)]
    assert layer.rng_state() == state
    assert layer.double().output_shape((3,)) == (8,)
    assert layer.seen[1][0] == np.float64


def test_what_does_not_fit_a_layer_without_output_shape():
    layer = Double()
    state = layer.rng_state()
    with pytest.raises(ValueError, match="layer 'own': Linear: "):
        nn.Sequential(own=layer).summary((2,))
    assert layer.rng_state() == state


def test_many_inputs_without_output_shape():
    class Outer(nn.Layer):
        takes_many = True

        def forward(self, x):
            return x[0][:, :, None] * x[1][:, None, :], None

    assert Outer().output_shape([(3,), (5,)]) == (3, 5)


def test_an_output_without_batch_axis_has_no_shape():
    class Mean(nn.Layer):
        def forward(self, x):
            return x.mean(), None

    with pytest.raises(ValueError, match=r"Mean: expected an output of shape \(N, ...\)"):
        Mean().summary((3,))


def test_receptive_fields_through_an_enlargement():
    """Down by 2 and up by 2: neighbours look half as far apart after it, as in the input."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, 2, 1), nn.ConvTranspose2d(2, 2, 4, 2, 1), nn.Conv2d(2, 1, 3, padding=1)
    )
    rows = net.summary((1, 8, 8)).rows
    assert [row.output_shape for row in rows] == [(2, 4, 4), (2, 8, 8), (1, 8, 8)]
    assert [row.receptive_field for row in rows] == [(3, 3), (5, 5), (7, 7)]
    assert rows[1].multiply_adds == 2 * 2 * 16 * 16
    odd = nn.Sequential(nn.ConvTranspose2d(1, 1, 3, 3), nn.Conv2d(1, 1, 3)).summary((1, 4, 4))
    assert [row.receptive_field for row in odd.rows] == [(1, 1), (2, 2)]
