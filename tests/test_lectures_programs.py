"""The lectures' programs and what they show; their pictures: test_lectures_pictures.py."""

import numpy as np
import pytest

from fastcnn import data, models, nn, ops, optim, training

F4 = np.float32


def test_L3_train_convnet():
    """5,000 / 1,000 digits, 20 epochs, batch 100, Adam 0.001; the curves of both."""
    train, test = data.mnist(subset=True)
    net = models.SimpleConvNet(seed=0)
    before = net.params["W1"].copy()
    trainer = training.Trainer(
        net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.001), seed=0
    )
    # The test digits are watched, as in the lecture; nothing is chosen by them.
    history = trainer.fit(train, epochs=20, batch_size=100, validation=test, progress=False)
    seen, new = history.train_accuracy, history.validation_accuracy
    assert len(seen) == len(new) == 20 and trainer.steps == 20 * 50
    assert seen[0] < 0.8 < 0.99 < seen[-1]
    assert new[-1] == net.accuracy(test.x, test.y) > 0.95
    assert before.shape == (30, 1, 5, 5)
    deviations = before.std(), net.params["W1"].std()  # noise of 0.01 at first, then edges
    assert deviations[0] == pytest.approx(0.01, rel=0.1) and deviations[1] > 3 * deviations[0]


def test_shuffled_pixels_are_all_the_same_to_a_perceptron(rng):
    """Its first weights shuffled alike give the same; a convolution has no such weights."""
    net = models.dmlp(seed=0).double()
    order = rng.permutation(784)
    x = rng.random((3, 1, 28, 28))
    y = net(x)
    net["fc1"].weight.data[...] = net["fc1"].weight.data[:, order]
    shuffled = x.reshape(3, 784)[:, order].reshape(x.shape)
    np.testing.assert_allclose(net(shuffled), y, rtol=1e-12)
    cnn = models.lenet5(seed=0).double()
    assert np.abs(cnn(shuffled) - cnn(x)).max() > 1e-3


def test_shuffled_pixels_take_from_a_cnn_what_it_knows():
    """2,000 digits as they are, and with all pixels in another order, the same for each.

    In place the CNN is better than the perceptron. Shuffled, neighbours tell it nothing: it falls
    below the perceptron, to which both are the same task.
    """
    train, test = data.mnist(subset=True)
    order = np.random.default_rng(0).permutation(784)

    def accuracy(make, pixels):
        def given(x):
            return x.reshape(len(x), 784)[:, pixels].reshape(x.shape)

        net = make(seed=0)
        optimizer = optim.Adam(net.parameters(), lr=0.002)
        trainer = training.Trainer(net, nn.CrossEntropyLoss(), optimizer, seed=0)
        some = given(train.x[:2000]), train.y[:2000]
        trainer.fit(some, epochs=3, batch_size=20, progress=False)
        return trainer.evaluate((given(test.x), test.y)).accuracy

    dmlp, cnn = (
        [accuracy(make, pixels) for pixels in (slice(None), order)]
        for make in (models.dmlp, models.lenet5)
    )
    assert cnn[0] > dmlp[0] + 0.01
    assert cnn[1] < min(cnn[0] - 0.05, dmlp[1])
    assert abs(dmlp[1] - dmlp[0]) < 0.04


def test_pooling_makes_a_shift_matter_less():
    """A digit one pixel to the right: its feature maps change less behind a pool."""
    digit = data.mnist(subset=True)[1].x[:20]
    shifted = np.roll(digit, 1, axis=3)

    def change(*layers):
        net = nn.Sequential(nn.Conv2d(1, 8, 5, seed=0), nn.ReLU(), *layers)
        a, b = net(digit), net(shifted)
        return float(np.abs(a - b).sum() / np.abs(a).sum())

    assert change(nn.MaxPool2d(4)) < 0.7 * change()


def test_hand_made_kernels_find_edges_and_blur():
    image = np.zeros((1, 1, 6, 8), F4)
    image[..., 4:] = 9
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], F4)
    edges = [ops.conv2d(image, kernel[None, None])[0, 0] for kernel in (sobel, sobel.T)]
    assert edges[0].tolist() == [[0, 0, 36, 36, 0, 0]] * 4
    assert not edges[1].any()  # no horizontal edge
    blurred = ops.conv2d(image, np.full((1, 1, 3, 3), 1 / 9, F4))
    assert blurred[0, 0, 0] == pytest.approx([0, 0, 3, 6, 9, 9])


def test_feature_maps_of_each_layer():
    net = models.lenet5(seed=0)
    maps = net.activations(np.zeros((1, 1, 28, 28), F4))
    assert [maps[k].shape[1:] for k in ("conv1", "pool1", "conv2", "pool2", "fc3")] == [
        (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (10,)
    ]  # fmt: skip


def test_more_data_against_overfitting():
    """20, 30, 50, 100 samples, all learned by heart: the gap to new digits closes step by step."""
    train, test = data.mnist(subset=True)
    gaps = []
    for count in (20, 30, 50, 100):
        some, gap = train[:count], 0.0
        for seed in range(3):
            net = models.dmlp(30, seed=seed)
            optimizer = optim.SGD(net.parameters(), lr=0.2)
            trainer = training.Trainer(net, nn.CrossEntropyLoss(), optimizer, seed=seed)
            trainer.fit(some, epochs=12, batch_size=10, progress=False)
            assert trainer.evaluate(some).accuracy == 1
            gap += (1 - trainer.evaluate(test).accuracy) / 3
        gaps.append(gap)
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < gaps[0] - 0.1
