"""Metrics, worked by hand.

Classes 0..3; class 3 is predicted once but never there, and class 4 is not mentioned:

    true      0 0 0 1 1 2         confusion   2 1 0 0
    predicted 0 0 1 1 3 2                     0 1 0 1
                                              0 0 1 0
                                              0 0 0 0
"""

import numpy as np
import pytest

from fastcnn import metrics

TRUE, GUESS = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 3, 2]


def test_confusion_matrix():
    expected = [[2, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert metrics.confusion_matrix(TRUE, GUESS).tolist() == expected
    assert metrics.confusion_matrix(TRUE, GUESS, 5).shape == (5, 5)
    maps = metrics.confusion_matrix(np.reshape(TRUE, (1, 2, 3)), np.reshape(GUESS, (1, 2, 3)))
    assert maps.tolist() == expected
    scores = np.eye(4)[GUESS]
    assert metrics.confusion_matrix(TRUE, scores).tolist() == expected
    pixels = scores.reshape(1, 2, 3, 4).transpose(0, 3, 1, 2)
    assert metrics.confusion_matrix(np.reshape(TRUE, (1, 2, 3)), pixels).tolist() == expected
    small = np.array(TRUE, np.uint8), np.array(GUESS, np.int8)
    assert metrics.confusion_matrix(*small).tolist() == expected
    assert metrics.confusion_matrix([], []).tolist() == [[0]]


def test_accuracy():
    assert metrics.accuracy(TRUE, GUESS) == 4 / 6
    assert metrics.accuracy([], []) == 0.0


def test_top_k():
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2]])
    true = [1, 0, 1]
    assert metrics.top_k_accuracy(true, scores, 1) == 0.0  # of the tie class 0 comes first
    assert metrics.top_k_accuracy(true, scores, 2) == 2 / 3
    assert metrics.top_k_accuracy(true, scores, 3) == 1.0


def test_precision_recall_and_f1():
    """Classes mentioned by nobody count for nothing; those predicted in vain count as 0."""
    p, r, f = [1, 1 / 2, 1, 0], [2 / 3, 1 / 2, 1, 0], [4 / 5, 1 / 2, 1, 0]
    there = np.array([3, 2, 1, 0])
    for function, each in ((metrics.precision, p), (metrics.recall, r), (metrics.f1_score, f)):
        np.testing.assert_allclose(function(TRUE, GUESS, average=None), each)
        assert function(TRUE, GUESS) == pytest.approx(np.mean(each))
        assert function(TRUE, GUESS, average="micro") == pytest.approx(4 / 6)
        weighted = (there * each).sum() / 6
        assert function(TRUE, GUESS, average="weighted") == pytest.approx(weighted)
        assert function(TRUE, np.eye(9)[GUESS]) == pytest.approx(np.mean(each))
        assert function([], []) == 0.0


def test_iou():
    each = metrics.iou(TRUE, GUESS, 5)
    np.testing.assert_allclose(each, [2 / 3, 1 / 3, 1, 0, np.nan])
    assert metrics.mean_iou(TRUE, GUESS, 5) == pytest.approx((2 / 3 + 1 / 3 + 1) / 4)
    assert metrics.mean_iou([], []) == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.accuracy([0, 1], [0]),
        lambda: metrics.accuracy([0.0], [0.5]),
        lambda: metrics.accuracy(0, 0),
        lambda: metrics.confusion_matrix([0, 3], [0, 1], 3),
        lambda: metrics.confusion_matrix([0, -1], [0, 1]),
        lambda: metrics.precision([0], [0], average="mean"),
        lambda: metrics.top_k_accuracy([0], [[0.5, 0.5]], 3),
        lambda: metrics.top_k_accuracy([0], [[0.5, 0.5]], 0),
        lambda: metrics.top_k_accuracy([0, 1], [[0.5, 0.5]], 1),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
