"""What five CNN lectures (L0 to L4) teach: their worked examples, accounting, nets and slips.

L0 a seminar on CNNs, L1 CNN basics, L2 deep-learning warm-up, L3 "make a CNN", L4 a bootcamp day.
Where a lecture slips, the test has the right number and says so. Their layers are in
test_lectures_layers.py, losses and methods in test_lectures_methods.py, how their nets are built
and trained in test_lectures_nets.py, programs in test_lectures_programs.py, pictures in
test_lectures_pictures.py.
"""

import pathlib
import pickle

import numpy as np
import pytest
from helpers import assert_same, integers

from fastcnn import data, models, nn, ops, optim, reference, training
from fastcnn.data import augment
from fastcnn.nn import init

F4 = np.float32
CROSS = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def digits(text):
    """Rows of digits, "110/011", as an array."""
    return np.array([[int(c) for c in row] for row in text.split("/")], F4)


def convolve(image, kernel, function=ops.conv2d, **options):
    """One image (C, H, W) or (H, W) with one kernel of as many channels: one map (OH, OW)."""
    x, w = np.asarray(image, F4), np.asarray(kernel, F4)
    c = 1 if x.ndim == 2 else x.shape[0]
    x, w = x.reshape(1, c, *x.shape[-2:]), w.reshape(1, c, *w.shape[-2:])
    return function(x, w, **options)[0, 0]


def conv_counts(shape, out_channels, kernel, **options):
    """Output shape and parameters of one convolution, as `summary` tells them."""
    row = nn.Conv2d(shape[0], out_channels, kernel, **options).summary(shape).rows[0]
    return row.output_shape, row.parameters


def bits(logits, target):
    """Cross-entropy of softmax(logits) against a class, in bits."""
    value, _ = nn.CrossEntropyLoss()(np.asarray(logits)[None], np.array([target]))
    return value / np.log(2)


def entropy(q):
    """H(q) in bits: the mean of -log2 q under q itself."""
    return sum(p * bits(np.log(q), i) for i, p in enumerate(q))


# --------------------------------------------------------------------------- worked examples


@pytest.mark.parametrize("algorithm", ["auto", "im2col"])
def test_L0_convolution_of_a_5x5_image(algorithm):
    image = digits("11100/01110/00111/00110/01100")
    y = convolve(image, CROSS, algorithm=algorithm)
    assert_same(y, np.array([[4, 3, 4], [2, 4, 3], [2, 3, 4]]))


@pytest.mark.parametrize("algorithm", ["auto", "im2col"])
def test_L3_convolution_of_a_5x5_image(algorithm):
    image = digits("12301/01510/10221/11200/10111")
    y = convolve(image, CROSS, algorithm=algorithm)
    assert_same(y, np.array([[8, 9, 8], [8, 5, 9], [6, 5, 5]]))


def test_L2_convolution_over_three_channels():
    x = np.stack([digits("000/011/021"), digits("000/022/010"), digits("000/003/010")])
    w = np.stack([digits("000/001/010"), digits("020/020/020"), digits("100/020/001")])
    assert [convolve(a, b).item() for a, b in zip(x, w, strict=True)] == [3, 6, 0]
    assert convolve(x, w).item() == 9
    assert convolve(x, w, reference.conv2d).item() == 9
    # A convolution in the mathematical sense flips its kernels; CNNs cross-correlate.
    assert convolve(x, w[:, ::-1, ::-1]).item() == 6


def test_L0_one_and_four_5x5x3_filters_on_32x32x3():
    assert conv_counts((3, 32, 32), 1, 5) == ((1, 28, 28), 76)
    assert conv_counts((3, 32, 32), 4, 5) == ((4, 28, 28), 304)


def test_L0_ten_filters_with_padding_against_a_fully_connected_layer():
    assert conv_counts((3, 32, 32), 10, 5, padding=2) == ((10, 32, 32), 760)
    dense = nn.Linear(3 * 32 * 32, 10 * 32 * 32, init=init.zeros())
    assert dense.weight.data.size == 31_457_280
    assert dense.bias.data.size == 10_240


def test_L0_a_3x3_window_with_stride_3_does_not_fit_7x7():
    with pytest.raises(ValueError, match=r"2\.33; padding=1 would fit and give 3x3"):
        nn.Conv2d(1, 1, 3, stride=3).summary((1, 7, 7), strict=True)
    padded = nn.Conv2d(1, 1, 3, stride=3, padding=1).summary((1, 7, 7), strict=True)
    assert padded.rows[0].output_shape == (1, 3, 3)


@pytest.mark.parametrize("layer", [nn.Conv2d(1, 1, 3, stride=3, seed=0), nn.MaxPool2d(3)])
def test_without_strict_mode_the_remainder_is_left_out(layer, rng):
    """floor(2.33) = 2 places a side: the last row and column of 7x7 are seen by nobody."""
    x = rng.random((1, 1, 7, 7)).astype(F4)
    y = layer(x)
    assert y.shape == (1, *layer.output_shape((1, 7, 7))) == (1, 1, 2, 2)
    assert_same(y, layer(x[:, :, :6, :6]))
    x[:, :, 6], x[..., 6] = np.nan, np.nan
    assert_same(layer(x), y)


@pytest.mark.parametrize("f, stride, sides", [(3, 1, (1, 1)), (4, 1, (1, 2)), (3, 2, (0, 1))])
def test_padding_by_name(f, stride, sides, rng):
    """None is "valid"; "same" gives ceil(N / S), with the odd line of padding at the end."""
    x, w = (integers(rng, (1, 1, *size), F4) for size in ((8, 6), (f, f)))
    same = ops.conv2d(x, w, stride=stride, padding="same")
    assert same.shape == (1, 1, 8 // stride, 6 // stride)
    assert_same(same, reference.conv2d(np.pad(x, ((0, 0), (0, 0), sides, sides)), w, stride=stride))
    assert_same(
        ops.conv2d(x, w, stride=stride, padding="valid"), reference.conv2d(x, w, stride=stride)
    )


def test_L0_cross_entropy():
    q = np.log([0.1, 0.2, 0.6, 0.1])
    assert bits(q, 2) == pytest.approx(0.7370, abs=5e-5)
    nats, _ = nn.CrossEntropyLoss()(q[None], np.array([2]))
    assert nats == pytest.approx(0.5108, abs=5e-5)
    assert nn.CrossEntropyLoss(unit="bits")(q[None], np.array([2]))[0] == pytest.approx(
        0.7370, abs=5e-5
    )
    p = np.array([[0.0, 0.0, 1.0, 0.0]])
    of_probabilities = nn.ProbabilityCrossEntropyLoss(unit="bits")
    assert of_probabilities(np.exp(q)[None], p)[0] == pytest.approx(0.7370, abs=5e-5)


def test_L0_entropy_is_largest_when_uniform(rng):
    assert entropy([0.25] * 4) == pytest.approx(2.0)
    assert entropy([0.1, 0.2, 0.6, 0.1]) == pytest.approx(1.571, abs=5e-4)
    assert all(entropy(q) < 2.0 for q in rng.dirichlet([1] * 4, 50))


@pytest.mark.parametrize(
    "p, cross_entropy, focal", [(0.9, 0.10536, 0.00105), (0.6, 0.5108, 0.0817), (0.1, 2.303, 1.865)]
)
def test_L0_focal_loss(p, cross_entropy, focal):
    logits = np.log([[p, 1 - p]])
    ce, _ = nn.CrossEntropyLoss()(logits, np.array([0]))
    assert ce == pytest.approx(cross_entropy, rel=5e-4)
    probability = nn.Softmax()(logits)[0, 0]
    assert (1 - probability) ** 2 * ce == pytest.approx(focal, rel=5e-3)
    assert nn.FocalLoss()(logits, np.array([0]))[0] == pytest.approx(focal, rel=5e-3)


def test_L1_3x3_on_28x28_with_and_without_padding():
    """The lecture's "pad 1 gives 26x26" is a slip."""
    assert nn.Conv2d(1, 1, 3).output_shape((1, 28, 28)) == (1, 26, 26)
    assert nn.Conv2d(1, 1, 3, padding=1).output_shape((1, 28, 28)) == (1, 28, 28)


def test_L1_same_padding_and_filter_size():
    for f in (3, 5, 7):
        sizes = [nn.Conv2d(1, 1, f, padding=p).output_shape((1, 28, 28)) for p in range(f)]
        assert [p for p, size in enumerate(sizes) if size == (1, 28, 28)] == [(f - 1) // 2]
        assert nn.Conv2d(1, 1, f, padding="same").output_shape((1, 28, 28)) == (1, 28, 28)
    size, stride, out = 28, 1, 26  # F = N - S (out - 1)
    f = size - stride * (out - 1)
    assert f == 3 and nn.Conv2d(1, 1, f, stride).output_shape((1, size, size)) == (1, out, out)


def test_L1_table_of_a_small_cnn():
    net = nn.Sequential(
        conv1=nn.Conv2d(1, 32, 3),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(32, 64, 3),
        pool2=nn.MaxPool2d(2),
        conv3=nn.Conv2d(64, 64, 3),
        flat=nn.Flatten(),
        fc1=nn.Linear(576, 64),
        fc2=nn.Linear(64, 10),
    )
    summary = net.summary((1, 28, 28))
    assert [(row.output_shape, row.parameters) for row in summary.rows] == [
        ((32, 26, 26), 320),
        ((32, 13, 13), 0),
        ((64, 11, 11), 18_496),
        ((64, 5, 5), 0),
        ((64, 3, 3), 36_928),
        ((576,), 0),
        ((64,), 36_928),
        ((10,), 650),
    ]
    assert summary.parameters == net.num_parameters() == 93_322


def test_L1_convolution_of_two_channels():
    x = [[[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]]
    w = [[[0, 1], [2, 3]], [[1, 2], [3, 4]]]
    assert_same(convolve(x, w), np.array([[56, 72], [104, 120]]))


def test_L1_a_kernel_of_shape_2_3_2_2():
    conv = nn.Conv2d(3, 2, 2)
    assert conv.weight.data.shape == (2, 3, 2, 2)
    assert conv.num_parameters() == 26
    assert conv(np.zeros((1, 3, 4, 4), F4)).shape == (1, 2, 3, 3)


def test_L2_parameters_of_64_7x7_kernels():
    assert nn.Conv2d(1, 64, 7).num_parameters() == 3_200


@pytest.mark.parametrize("length", [3, 10, 1000])
def test_L2_shared_weights_of_a_1d_kernel(length):
    conv = nn.Conv1d(1, 1, 3, bias=False, seed=0)
    assert conv.num_parameters() == 3
    assert conv(np.zeros((1, 1, length), F4)).shape == (1, 1, length - 2)


def test_L2_parameters_of_a_multi_layer_perceptron():
    assert (784 + 1) * 100 + (100 + 1) * 10 == 79_510
    assert models.dmlp().num_parameters() == 79_510


def test_L2_alexnet_crop_and_flip():
    """(256 - 224)^2 * 2 = 2,048 views count 32 places along each side, but 256 pixels have 33.

    The 33rd, 32 pixels from the first, is left out by the paper; with it there are 2,178.
    """
    views = augment.Compose([augment.RandomCrop(224), augment.RandomHorizontalFlip()]).num_views
    assert views(256, 256) == 33**2 * 2 == 2_178
    assert views(255, 255) == 32**2 * 2 == 2_048  # without the last row and column of places


def test_all_views_of_a_crop_and_flip_come_up(rng):
    """3x3 of 5x5 pixels: 3 * 3 places, mirrored or not, are 18 images, and no others."""
    change = augment.Compose([augment.RandomCrop(3), augment.RandomHorizontalFlip()])
    x = rng.random((1, 1, 5, 5)).astype(F4)
    crops = [x[0, 0, i : i + 3, j : j + 3] for i in range(3) for j in range(3)]
    views = {view.tobytes() for crop in crops for view in (crop, crop[:, ::-1])}
    found = {change(x, seed=seed).tobytes() for seed in range(300)}
    assert found == views and len(views) == change.num_views(5, 5) == 18


@pytest.mark.parametrize("padding, stride, out", [(0, 1, 3), (2, 1, 7), (1, 2, 3)])
def test_L3_output_sizes_of_a_3x3_kernel_on_5x5(padding, stride, out):
    conv = nn.Conv2d(1, 1, 3, stride, padding, seed=0)
    assert conv.output_shape((1, 5, 5)) == (1, out, out)
    assert conv(np.zeros((1, 1, 5, 5), F4)).shape == (1, 1, out, out)


def test_L3_two_filters_on_three_channels():
    assert conv_counts((3, 5, 5), 2, 3, padding=1, stride=2) == ((2, 3, 3), 56)


def test_L4_weights_of_alexnet_conv1():
    """Two halves of 48 filters, one on each of the paper's two GPUs."""
    half = nn.Conv2d(3, 48, 11, stride=4)
    assert 2 * half.weight.data.size == 34_848
    assert 2 * half.num_parameters() == 34_944
    assert conv_counts((3, 227, 227), 96, 11, stride=4) == ((96, 55, 55), 34_944)


def test_L4_parameters_of_the_first_fully_connected_layer_of_alexnet():
    """pool5 gives 6x6; the lecture's 177 million take its input, 13x13."""
    pool5 = nn.MaxPool2d(3, 2).output_shape((256, 13, 13))
    assert pool5 == (256, 6, 6)
    (features,) = nn.Flatten().output_shape(pool5)
    assert nn.Linear(features, 4096, init=init.zeros()).num_parameters() == 37_752_832
    (too_many,) = nn.Flatten().output_shape((256, 13, 13))
    assert round((too_many + 1) * 4096 / 1e6) == 177


# -------------------------------------------------------------------------------- accounting


def test_accounting_of_lenet5_by_hand():
    """(N - F + 2P) / S + 1; F * F * C multiply-adds a number of a map; F + (F' - 1) * jump seen."""
    rows = {row.name: row for row in models.lenet5().summary((1, 28, 28), batch_size=2).rows}
    assert rows["conv1"].multiply_adds == 28 * 28 * 6 * 25
    assert rows["conv2"].multiply_adds == 10 * 10 * 16 * 6 * 25
    assert [rows[f"fc{i}"].multiply_adds for i in (1, 2, 3)] == [48_000, 10_080, 840]
    seen = [rows[name].receptive_field for name in ("conv1", "pool1", "conv2", "pool2")]
    assert seen == [(5, 5), (6, 6), (14, 14), (16, 16)]
    assert rows["conv1"].activation_bytes == 2 * 4 * 6 * 28 * 28
    assert rows["fc1"].parameter_bytes == 4 * 48_120
    assert nn.Conv2d(3, 8, 5, bias=False).num_parameters() == 8 * 75
    assert nn.Conv2d(3, 8, 5).num_parameters() == 8 * 76


# --------------------------------------------------------------------- nets and their counts


@pytest.mark.parametrize(
    "name, options, count",
    [
        ("dmlp", {}, 79_510),
        ("simple_convnet", {}, 433_890),
        ("lenet5", {"variant": "lecture"}, 61_706),
        ("lenet5", {"variant": "relu"}, 61_706),
        ("lenet5", {"variant": "1998"}, 60_000),
        ("alexnet", {"init": init.zeros()}, 60_965_224),
        ("vgg16", {"init": init.zeros()}, 138_357_544),
        ("googlenet", {"init": init.zeros()}, 6_998_552),
        ("googlenet", {"init": init.zeros(), "auxiliary": True}, 13_378_280),
        ("resnet18", {"init": init.zeros()}, 11_689_512),
        ("resnet34", {"init": init.zeros()}, 21_797_672),
        ("resnet50", {"init": init.zeros()}, 25_557_032),
        ("resnet101", {"init": init.zeros()}, 44_549_160),
        ("resnet152", {"init": init.zeros()}, 60_192_808),
        ("vgg11", {"init": init.zeros()}, 132_863_336),
        ("vgg13", {"init": init.zeros()}, 133_047_848),
        ("vgg19", {"init": init.zeros()}, 143_667_240),
        ("densenet121", {"init": init.zeros()}, 7_978_856),
        ("densenet169", {"init": init.zeros()}, 14_149_480),
        ("densenet201", {"init": init.zeros()}, 20_013_928),
    ],
)
def test_parameters_of_the_nets(name, options, count):
    assert models.create(name, **options).num_parameters(trainable=True) == count


# ------------------------------------------------ what the lectures' own code gets wrong


def test_relu_backward_leaves_the_caller_s_gradient_alone():
    relu = nn.ReLU()
    _, ctx = relu.forward(np.array([-1, 2], F4))
    dy = np.array([5, 7], F4)
    assert relu.backward(dy, ctx).tolist() == [0, 7]
    assert dy.tolist() == [5, 7]


def test_an_odd_convolution_output_does_not_break_the_next_size():
    net = nn.Sequential(nn.Conv2d(1, 2, 4, seed=0), nn.MaxPool2d(2), nn.Flatten())
    shape = net.output_shape((1, 28, 28))  # 25x25, then 12x12
    assert shape == (288,)
    assert net(np.zeros((1, 1, 28, 28), F4)).shape == (1, *shape)


def test_pooling_heeds_its_padding():
    x = -np.arange(1, 17, dtype=F4).reshape(1, 1, 4, 4)
    y = nn.MaxPool2d(2, padding=1)(x)
    # Padding is never the maximum, though every number here is below 0.
    assert_same(y[0, 0], np.array([[-1, -2, -4], [-5, -6, -8], [-13, -14, -16]]))


def test_accuracy_counts_the_last_partial_batch(rng):
    """The lecture leaves the rest out, yet divides by all."""
    net = models.SimpleConvNet(seed=0)
    x = rng.random((7, 1, 28, 28)).astype(F4)
    t = net.predict(x).argmax(axis=1)
    t[0] = (t[0] + 1) % 10
    assert net.accuracy(x, t, batch_size=3) == 6 / 7
    trainer = training.Trainer(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1))
    assert trainer.evaluate((x, t)).accuracy == pytest.approx(6 / 7)


def test_validation_data_are_set_aside_from_the_training_data():
    """The test set is for the end: what chooses among models must not judge them."""
    train, test = data.mnist(subset=True)
    rest, validation = train.split(0.1, seed=3)
    assert len(rest) + len(validation) == len(train) == 5_000 and len(test) == 1_000
    rows = {row.tobytes() for row in rest.x.reshape(len(rest), -1)}
    assert not any(row.tobytes() in rows for row in validation.x.reshape(len(validation), -1))


def test_a_file_of_weights_cannot_run_code(tmp_path):
    """The lecture's pickles can: here they are refused unread."""

    class Evil:
        def __reduce__(self):
            return (pathlib.Path.touch, (tmp_path / "ran",))

    path = tmp_path / "params.pkl"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="params"):
        models.SimpleConvNet().load_params(path)
    assert not (tmp_path / "ran").exists()


def test_weights_are_loaded_from_where_they_were_saved(tmp_path, monkeypatch):
    """And nothing moves the working directory, which the lecture's program changes at start."""
    monkeypatch.chdir(tmp_path)
    trained = models.SimpleConvNet(seed=1)
    trained.save_params()
    other = models.SimpleConvNet(seed=2)
    other.load_params()
    for key, a in trained.params.items():
        assert (other.params[key] == a).all()
    assert pathlib.Path.cwd() == tmp_path
