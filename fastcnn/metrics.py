"""How good predictions are: accuracy, confusion matrix, precision, recall, F1, mean IoU.

All take the true classes and the predicted ones, integers of one shape (rows or pixels); where
scores do as well, the class of the largest counts. A share of nothing is 0, as for the precision
of a class that was never predicted.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ._checks import Array, integer

__all__ = [
    "accuracy",
    "confusion_matrix",
    "f1_score",
    "iou",
    "mean_iou",
    "precision",
    "recall",
    "top_k_accuracy",
]

Average = Literal["macro", "micro", "weighted"]


def confusion_matrix(y: ArrayLike, predicted: ArrayLike, n_classes: int | None = None) -> Array:
    """How often each class (row) was predicted as each class (column).

    Parameters
    ----------
    y : array_like of int
        True classes, of any shape: (N,) rows, (N, H, W) pixels.
    predicted : array_like
        Predicted classes of that shape, or scores with the classes on axis 1.
    n_classes : int, optional
        Rows and columns; by default the number of scores, or the largest class + 1.

    Returns
    -------
    ndarray of int64
        (n_classes, n_classes); its sum is the size of `y`.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a class is outside 0..n_classes-1.

    Examples
    --------
    >>> from fastcnn import metrics
    >>> metrics.confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2])
    array([[1, 0, 0],
           [0, 1, 1],
           [0, 0, 1]])
    """
    true, guess, n = _classes("confusion_matrix", y, predicted, n_classes)
    pairs = true.astype(np.int64).ravel() * n + guess.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=n**2).reshape(n, n)


def accuracy(y: ArrayLike, predicted: ArrayLike) -> float:
    """Share of the right answers; of pixels, where `y` is a map.

    Parameters
    ----------
    y, predicted
        As for `confusion_matrix`.

    Examples
    --------
    >>> from fastcnn import metrics
    >>> metrics.accuracy([0, 1, 1, 2], [0, 1, 2, 2])
    0.75
    """
    true, guess, _ = _classes("accuracy", y, predicted)
    return _share(int(np.count_nonzero(true == guess)), true.size)


def top_k_accuracy(y: ArrayLike, scores: ArrayLike, k: int = 5) -> float:
    """Share of rows whose class is among the `k` with the largest scores.

    Parameters
    ----------
    y : array_like of int
        (N,).
    scores : array_like
        (N, C). Of equal scores the lower classes come first.
    k : int

    Raises
    ------
    ValueError
        If the shapes do not fit, or `k` is less than 1 or more than C.

    Examples
    --------
    >>> from fastcnn import metrics
    >>> metrics.top_k_accuracy([2, 0], [[0.1, 0.6, 0.3], [0.2, 0.5, 0.3]], k=2)
    0.5
    """
    true, s = np.asarray(y), np.asarray(scores)
    if s.ndim != 2 or true.shape != s.shape[:1] or true.dtype.kind not in "iu":
        raise ValueError(
            f"top_k_accuracy: expected integers y (N,) and scores (N, C), got {true.dtype} "
            f"{true.shape} and {s.shape}"
        )
    if integer("top_k_accuracy", "k", k, 1) > s.shape[1]:
        raise ValueError(f"top_k_accuracy: expected k of at most {s.shape[1]} classes, got {k}")
    best = np.argsort(-s, axis=1, kind="stable")[:, :k]
    return _share(int((best == true[:, None]).any(1).sum()), len(true))


def precision(
    y: ArrayLike, predicted: ArrayLike, *, average: Average | None = "macro"
) -> float | Array:
    """Of those predicted as a class, the share that are of it.

    Parameters
    ----------
    y, predicted
        As for `confusion_matrix`.
    average : "macro", "micro", "weighted" or None
        Mean over the classes; the share over all counts together; mean weighted by how often a
        class is there; or an array with each class's own.

    Examples
    --------
    >>> from fastcnn import metrics
    >>> metrics.precision([0, 1, 1, 2], [0, 1, 2, 2], average=None)
    array([1. , 1. , 0.5])
    """
    right, true, guessed = _counts(y, predicted)
    return _averaged("precision", right, guessed, true, guessed, average)


def recall(
    y: ArrayLike, predicted: ArrayLike, *, average: Average | None = "macro"
) -> float | Array:
    """Of those that are of a class, the share that were predicted so.

    Parameters
    ----------
    y, predicted, average
        As for `precision`.

    Examples
    --------
    >>> from fastcnn import metrics
    >>> metrics.recall([0, 1, 1, 2], [0, 1, 2, 2], average=None)
    array([1. , 0.5, 1. ])
    """
    right, true, guessed = _counts(y, predicted)
    return _averaged("recall", right, true, true, guessed, average)


def f1_score(
    y: ArrayLike, predicted: ArrayLike, *, average: Average | None = "macro"
) -> float | Array:
    """Harmonic mean of precision and recall: ``2 * right / (there + predicted)``.

    Parameters
    ----------
    y, predicted, average
        As for `precision`.

    Examples
    --------
    >>> from fastcnn import metrics
    >>> round(metrics.f1_score([0, 1, 1, 2], [0, 1, 2, 2]), 4)
    0.7778
    """
    right, true, guessed = _counts(y, predicted)
    return _averaged("f1_score", 2 * right, true + guessed, true, guessed, average)


def iou(y: ArrayLike, predicted: ArrayLike, n_classes: int | None = None) -> Array:
    """Intersection over union of each class: ``right / (there + predicted - right)``.

    Parameters
    ----------
    y, predicted, n_classes
        As for `confusion_matrix`.

    Returns
    -------
    ndarray
        (n_classes,); NaN for a class that is neither there nor predicted.

    Examples
    --------
    >>> from fastcnn import metrics
    >>> metrics.iou([[0, 0], [1, 1]], [[0, 1], [1, 1]], 3).round(2)
    array([0.5 , 0.67,  nan])
    """
    right, true, guessed = _counts(y, predicted, n_classes)
    union = true + guessed - right
    return np.where(union > 0, right / np.maximum(union, 1), np.nan)


def mean_iou(y: ArrayLike, predicted: ArrayLike, n_classes: int | None = None) -> float:
    """Mean of `iou` over the classes that are there or were predicted; the segmentation score.

    Parameters
    ----------
    y, predicted, n_classes
        As for `confusion_matrix`.

    Examples
    --------
    >>> from fastcnn import metrics
    >>> round(metrics.mean_iou([[0, 0], [1, 1]], [[0, 1], [1, 1]]), 4)
    0.5833
    """
    each = iou(y, predicted, n_classes)
    known = each[~np.isnan(each)]
    return float(known.mean()) if known.size else 0.0


def _classes(
    op: str, y: ArrayLike, predicted: ArrayLike, n_classes: int | None = None
) -> tuple[Array, Array, int]:
    """True and predicted classes, checked, and how many classes there are."""
    true, guess = np.asarray(y), np.asarray(predicted)
    if guess.ndim == true.ndim + 1 and guess.ndim >= 2:
        n_classes = n_classes or guess.shape[1]
        guess = guess.argmax(axis=1)
    if true.ndim < 1 or true.shape != guess.shape:
        raise ValueError(
            f"{op}: expected y and predicted of one shape, or scores with the classes on axis 1, "
            f"got {true.shape} and {np.shape(predicted)}"
        )
    if true.size and (true.dtype.kind not in "iu" or guess.dtype.kind not in "iu"):
        raise ValueError(f"{op}: expected integer classes, got {true.dtype} and {guess.dtype}")
    if n_classes is None:
        n_classes = int(max(true.max(), guess.max())) + 1 if true.size else 1
    if true.size:
        least, most = min(true.min(), guess.min()), max(true.max(), guess.max())
        if least < 0 or most >= n_classes:
            raise ValueError(f"{op}: expected classes in 0..{n_classes - 1}, got {least}..{most}")
    return true, guess, n_classes


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _counts(
    y: ArrayLike, predicted: ArrayLike, n_classes: int | None = None
) -> tuple[Array, Array, Array]:
    """For each class: right, there, predicted."""
    counts = confusion_matrix(y, predicted, n_classes)
    return counts.diagonal(), counts.sum(1), counts.sum(0)


def _averaged(
    op: str, part: Array, whole: Array, true: Array, guessed: Array, average: str | None
) -> float | Array:
    each = part / np.maximum(whole, 1)
    if average is None:
        return each
    if average == "macro":
        known = (true > 0) | (guessed > 0)  # a class that nobody mentions is none
        return float(each[known].mean()) if known.any() else 0.0
    if average == "micro":
        return _share(part.sum(), whole.sum())
    if average == "weighted":
        return _share((each * true).sum(), true.sum())
    raise ValueError(
        f"{op}: expected average 'macro', 'micro', 'weighted' or None, got {average!r}"
    )
