"""Metrics, worked by hand and against scikit-learn.

Classes 0..3; class 3 is predicted once but never there, and class 4 is not mentioned:

    true      0 0 0 1 1 2         confusion   2 1 0 0
    predicted 0 0 1 1 3 2                     0 1 0 1
                                              0 0 1 0
                                              0 0 0 0
"""

import numpy as np
import pytest
from sklearn import metrics as oracle

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
    assert metrics.accuracy(TRUE, np.eye(4)[GUESS]) == 4 / 6
    assert metrics.accuracy([0, 1_000_000], [0, 1]) == 0.5  # takes no matrix of the classes


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


@pytest.mark.parametrize("there", [(0, 1, 2, 3, 4), (1, 3), (0, 4), (2,)])
@pytest.mark.parametrize("guessed", [(0, 1, 2, 3, 4), (0, 2, 3), (4,)])
def test_against_scikit_learn(there, guessed, rng):
    """Five classes, some of which are nowhere, or are never predicted, or only in vain."""
    y, guess = rng.choice(there, 60), rng.choice(guessed, 60)
    labels = np.arange(5)
    counts = oracle.confusion_matrix(y, guess, labels=labels)
    assert (metrics.confusion_matrix(y, guess, 5) == counts).all()
    assert metrics.accuracy(y, guess) == pytest.approx(oracle.accuracy_score(y, guess))
    for name in ("precision", "recall", "f1"):
        ours = getattr(metrics, {"f1": "f1_score"}.get(name, name))
        theirs = getattr(oracle, f"{name}_score")
        each = theirs(y, guess, labels=labels, average=None, zero_division=0)
        seen = len(ours(y, guess, average=None))  # up to the largest class that is mentioned
        np.testing.assert_allclose(ours(y, guess, average=None), each[:seen], rtol=1e-12)
        assert not each[seen:].any()
        for average in ("macro", "micro", "weighted"):
            expected = theirs(y, guess, average=average, zero_division=0)
            assert ours(y, guess, average=average) == pytest.approx(expected)
    known = np.union1d(y, guess)
    each = oracle.jaccard_score(y, guess, labels=known, average=None, zero_division=0)
    np.testing.assert_allclose(metrics.iou(y, guess, 5)[known], each, rtol=1e-12)
    assert np.isnan(np.delete(metrics.iou(y, guess, 5), known)).all()
    assert metrics.mean_iou(y, guess, 5) == pytest.approx(each.mean())


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_against_scikit_learn(k, rng):
    scores = rng.permuted(np.tile(np.arange(5.0), (60, 1)), axis=1)  # no ties
    for there in ((0, 1, 2, 3, 4), (1, 3)):
        y = rng.choice(there, 60)
        expected = oracle.top_k_accuracy_score(y, scores, k=k, labels=np.arange(5))
        assert metrics.top_k_accuracy(y, scores, k) == pytest.approx(expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.accuracy([0, 1], [0]),
        lambda: metrics.accuracy([0.0], [0.5]),
        lambda: metrics.accuracy(0, 0),
        lambda: metrics.accuracy([0, -1], [0, 1]),
        lambda: metrics.accuracy([2], [[0.5, 0.5]]),
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
