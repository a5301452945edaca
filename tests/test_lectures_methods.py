"""The lectures' losses and methods; what else they have: see test_lectures.py."""

import itertools

import numpy as np
import pytest

from fastcnn import data, models, nn, optim, training
from fastcnn.data import augment
from fastcnn.models import algorithm_4_1
from fastcnn.nn import init

F4 = np.float32


# -------------------------------------------------- losses, regularisation, optimisation


def test_losses_by_hand():
    y, t = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 0.0], [0.0, 5.0]])
    assert nn.MSELoss()(y, t)[0] == 13 / 4
    p = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    likelihood = -(np.log(0.25) + np.log(0.8)) / 2
    assert nn.NLLLoss()(np.log(p), np.array([1, 2]))[0] == pytest.approx(likelihood)
    assert nn.CrossEntropyLoss()(np.log(p), np.array([1, 2]))[0] == pytest.approx(likelihood)
    # per pixel: the same numbers as a map of two pixels
    maps = np.log(p).T.reshape(1, 3, 1, 2)
    focal = -(0.75**2 * np.log(0.25) + 0.2**2 * np.log(0.8)) / 2
    assert nn.FocalLoss()(maps, np.array([[[1, 2]]]))[0] == pytest.approx(focal)


def test_weight_decay_is_the_gradient_of_an_l2_penalty():
    """w - rate * (g + decay * w), the gradient of loss + decay / 2 * |w|^2."""
    w = nn.Parameter(np.array([2.0, -4.0]))
    w.grad = np.array([1.0, 1.0])
    optim.SGD([w], lr=0.5, weight_decay=0.25).step()
    assert w.data.tolist() == [2 - 0.5 * 1.5, -4 - 0.5 * 0]


def test_early_stopping_brings_the_best_weights_back():
    """20 samples against labels of chance: validation soon gets worse, and the fit stops."""
    train, _ = data.mnist(subset=True)
    x, y = train.x[:120], np.random.default_rng(0).integers(0, 10, 100)
    net = models.dmlp(seed=0)
    trainer = training.Trainer(
        net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.5), seed=0
    )
    history = trainer.fit(
        (x[:20], train.y[:20]), epochs=50, batch_size=5, validation=(x[20:], y), progress=False,
        callbacks=[training.EarlyStopping(patience=3)],
    )  # fmt: skip
    best = min(history.validation_loss)
    assert len(history) < 50 and history.validation_loss[-1] > best
    assert trainer.evaluate((x[20:], y)).loss == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("name", ["shift", "rotate", "scale", "brightness", "crop", "flip"])
def test_augmentation_changes_images_the_same_way_for_a_seed(name, rng):
    change = {
        "shift": augment.RandomShift(3),
        "rotate": augment.RandomRotation(20),
        "scale": augment.RandomScale((0.8, 1.2)),
        "brightness": augment.ColorJitter(brightness=0.5),
        "crop": augment.RandomCrop(28, padding=4),
        "flip": augment.RandomHorizontalFlip(),
    }[name]
    x = rng.random((16, 1, 28, 28)).astype(F4)
    y = change(x, seed=1)
    assert y.shape == x.shape and (y != x).any()
    assert (change(x, seed=1) == y).all() and (change(x, seed=2) != y).any()


def augmented(change, rng, low=0.1):
    """Images without zeros, and what a change makes of them."""
    x = rng.uniform(low, 1, (16, 1, 9, 9)).astype(F4)
    return x, change(x, seed=1)


def one_of(image, candidates):
    """Index of the only candidate that is the image; 0 and more of them are errors."""
    (found,) = (i for i, candidate in enumerate(candidates) if np.array_equal(candidate, image))
    return found


def test_a_flip_mirrors_columns_or_nothing(rng):
    x, y = augmented(augment.RandomHorizontalFlip(), rng)
    assert {one_of(b, [a, a[..., ::-1]]) for a, b in zip(x, y, strict=True)} == {0, 1}


def test_a_shift_moves_the_picture_and_a_crop_is_a_window_of_it(rng):
    """Both are windows of the picture in a frame of zeros; inside it no value is another."""
    for change, frame, size in (
        (augment.RandomShift(2), 2, 9), (augment.RandomCrop(9, padding=3), 3, 9),
        (augment.RandomCrop(6), 0, 6),
    ):  # fmt: skip
        x, y = augmented(change, rng)
        framed = np.pad(x, ((0, 0), (0, 0), (frame, frame), (frame, frame)))
        places = range(9 + 2 * frame - size + 1)
        found = set()
        for a, b in zip(framed, y, strict=True):
            windows = [a[:, i : i + size, j : j + size] for i in places for j in places]
            found.add(one_of(b, windows))
        assert len(found) > 5


def test_a_rotation_by_right_angles_is_exact(rng):
    for quarter in (-1, 1, 2):
        x, y = augmented(augment.RandomRotation((90 * quarter, 90 * quarter)), rng)
        np.testing.assert_allclose(y, np.rot90(x, quarter, axes=(2, 3)), atol=1e-5)


def test_a_scale_enlarges_or_shrinks_about_the_middle(rng):
    """By 2 every second pixel is one of x and the others are means; by 1/2 zeros come in."""
    x, y = augmented(augment.RandomScale((2, 2)), rng)
    middle = x[..., 2:7, 2:7]
    np.testing.assert_allclose(y[..., ::2, ::2], middle, atol=1e-5)
    between = (middle[..., 1:] + middle[..., :-1]) / 2
    np.testing.assert_allclose(y[..., ::2, 1::2], between, atol=1e-5)
    x, y = augmented(augment.RandomScale((0.5, 0.5)), rng)
    framed = np.pad(x[..., ::2, ::2], ((0, 0), (0, 0), (2, 2), (2, 2)))
    np.testing.assert_allclose(y, framed, atol=1e-5)


def test_brightness_scales_all_pixels_of_an_image_alike(rng):
    x, y = augmented(augment.ColorJitter(brightness=0.5), rng)
    factors = (y / x).reshape(16, -1)
    dark = y.reshape(16, -1).max(axis=1) < 1  # those of which nothing was cut off at 1
    assert dark.sum() > 3
    np.testing.assert_allclose(factors[dark], factors[dark][:, :1] * np.ones(81), rtol=1e-6)
    assert 0.5 <= factors[dark].min() < factors[dark].max() <= 1.5
    bright = np.minimum(x * factors.max(axis=1).reshape(16, 1, 1, 1), 1)
    np.testing.assert_allclose(y, bright, rtol=1e-6)


def step_of(net, optimizer, x, y):
    """One step of the optimizer: parameters before and after it, and their gradients, by names."""
    before = {name: p.data.copy() for name, p in net.named_parameters()}
    scores, ctx = net.forward(x)
    optimizer.zero_grad()
    net.backward(nn.CrossEntropyLoss()(scores, y)[1], ctx, need_dx=False)
    gradients = {name: p.grad.copy() for name, p in net.named_parameters()}
    optimizer.step()
    return before, {name: p.data for name, p in net.named_parameters()}, gradients


def test_feature_extraction_and_fine_tuning(rng):
    """Frozen base and new head; then the late layers too, at a small rate: what a step moves."""
    x, y = rng.random((6, 1, 28, 28)).astype(F4), np.array([0, 1, 2, 3, 4, 0])
    net = models.lenet5(seed=0).replace("fc3", nn.Linear(84, 5, seed=1)).freeze(before="fc3")
    assert net.num_parameters(trainable=True) == 85 * 5
    before, after, _ = step_of(net, optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1), x, y)
    moved = {name for name in before if (before[name] != after[name]).any()}
    assert moved == {"fc3.weight", "fc3.bias"}  # weight decay leaves the frozen ones alone too

    net.unfreeze(since="fc1")
    optimizer = optim.SGD(net.parameter_groups({"fc3": 0.01}), lr=1e-4)
    rates = {p.name: optimizer.lr * rate for p, rate, _ in optimizer.entries() if p.requires_grad}
    assert rates["fc3.weight"] == pytest.approx(0.01) and rates["fc1.bias"] == 1e-4
    before, after, gradients = step_of(net, optimizer, x, y)
    for name in before:
        early, rate = name.startswith("conv"), 0.01 if name.startswith("fc3") else 1e-4
        assert (name in rates) == gradients[name].any() == (not early)
        expected = before[name] if early else before[name] - rate * gradients[name]
        np.testing.assert_allclose(after[name], expected, rtol=1e-6, atol=1e-8)
        assert (after[name] == before[name]).all() == early


def test_L2_algorithm_4_1_literally_vectorised_and_by_layers(rng):
    """Number by number, by matrix products, and by the layers of nn: the same weights."""
    sizes = (7, 5, 4, 3)
    u = [rng.normal(size=(o, i + 1)) for i, o in itertools.pairwise(sizes)]
    layers = []
    for matrix in u:
        fc = nn.Linear(matrix.shape[1] - 1, len(matrix), seed=0).double()
        fc.weight.data[...], fc.bias.data[...] = matrix[:, 1:], matrix[:, 0]
        layers += [fc, nn.Sigmoid()]
    net = nn.Sequential(*layers)
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    literal = vectorised = u
    for _ in range(3):
        x, y = rng.normal(size=(6, 7)), rng.random((6, 3))
        literal = algorithm_4_1.step_literally(literal, x, y, 0.5)
        vectorised = algorithm_4_1.step_vectorised(vectorised, x, y, 0.5)
        o, ctx = net.forward(x)
        net.zero_grad()
        net.backward((o - y) / len(x), ctx)
        optimizer.step()
    for a, b, fc in zip(literal, vectorised, layers[::2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        np.testing.assert_allclose(fc.weight.data, a[:, 1:], rtol=1e-12)
        np.testing.assert_allclose(fc.bias.data, a[:, 0], rtol=1e-12)


def test_momentum_and_adam_by_hand():
    w = nn.Parameter(np.array([1.0]))
    momentum = optim.SGD([w], lr=0.1, momentum=0.9)
    for expected in (1 - 0.1, 0.9 - 0.19, 0.71 - 0.271):  # velocity 1, 1.9, 2.71
        w.grad = np.array([1.0])
        momentum.step()
        assert w.data[0] == pytest.approx(expected)
    adam = optim.Adam([w])
    assert adam.lr == 0.001 and adam.betas == (0.9, 0.999)
    before = w.data[0]
    w.grad = np.array([123.0])
    adam.step()
    assert before - w.data[0] == pytest.approx(0.001)  # the first step, whatever the gradient


def test_schedules():
    steps, cosine = training.schedules.step(0.1, 3), training.schedules.cosine
    assert [steps(t) for t in (0.0, 0.4, 0.9)] == pytest.approx([1.0, 0.1, 0.01])
    assert [cosine(t) for t in (0.0, 0.5)] == pytest.approx([1.0, 0.5])
    google = training.schedules.googlenet(40)  # 4 % less each 8 epochs
    assert [google(e / 40) for e in (0, 7, 8, 16, 39)] == pytest.approx(
        [1, 1, 0.96, 0.96**2, 0.96**4]
    )


def test_the_rate_falls_on_a_plateau():
    """Labels of chance: what the net learns is no use for others, so validation gets worse."""
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 1, 28, 28)).astype(F4), rng.integers(0, 10, 60)
    net = models.dmlp(20, seed=0)
    optimizer = optim.SGD(net.parameter_groups({"fc2": 0.05}), lr=0.1)
    trainer = training.Trainer(net, nn.CrossEntropyLoss(), optimizer, seed=0)
    callback = training.ReduceLROnPlateau(factor=0.5, patience=1)
    history = trainer.fit(
        (x[:20], y[:20]), epochs=12, batch_size=5, validation=(x[20:], y[20:]), progress=False,
        callbacks=[callback],
    )  # fmt: skip
    assert history.learning_rate[0] == 0.1 and history.learning_rate[-1] < 0.05
    shares = {p.name: rate for p, rate, _ in optimizer.entries()}
    assert (shares["fc1.weight"], shares["fc2.weight"]) == (1.0, 0.5)  # of whatever the rate is


def test_initialisations(rng):
    """N(0, 0.01^2); Xavier's 2 / (fan_in + fan_out), He's 2 / fan_in as variances."""
    shape = (200, 50, 3, 3)
    fan_in, fan_out = 450, 1800
    for initializer, variance in (
        (init.normal(0.01), 0.01**2),
        (init.xavier(), 2 / (fan_in + fan_out)),
        (init.he(), 2 / fan_in),
    ):
        w = initializer(shape, rng)
        assert abs(w.mean()) < 0.02 * np.sqrt(variance)
        assert w.var() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("progress", ["step + MSE", "sigmoid + MSE", "ReLU + cross-entropy"])
def test_the_progression_of_activations_and_losses(progress):
    """All three run, and learn 100 digits; the step by the straight-through convention."""
    activation, _, loss = progress.partition(" + ")
    layer = {"step": nn.Step, "sigmoid": nn.Sigmoid, "ReLU": nn.ReLU}[activation]
    digits_100, _ = data.mnist(subset=True)
    x, labels = digits_100.x[:100].reshape(100, 784), digits_100.y[:100]
    net = nn.Sequential(nn.Linear(784, 50, seed=0), layer(), nn.Linear(50, 10, seed=1))
    function = nn.CrossEntropyLoss() if loss == "cross-entropy" else nn.MSELoss()
    target = labels if loss == "cross-entropy" else np.eye(10, dtype=F4)[labels]
    optimizer, values = optim.Adam(net.parameters(), lr=0.01), []
    for _ in range(25):
        y, ctx = net.forward(x)
        value, gradient = function(y, target)
        optimizer.zero_grad()
        net.backward(gradient, ctx, need_dx=False)
        optimizer.step()
        values.append(value)
    assert values[-1] < values[0] / 3
