"""Augmentation: what each transform does to which pixels, and whose random numbers it uses."""

import pickle

import numpy as np
import pytest

from fastcnn.data import ArrayDataset, DataLoader, augment
from fastcnn.data.augment import base

RANDOM = [
    augment.RandomCrop(5),
    augment.RandomCrop((8, 7), padding=2, fill=0.5),
    augment.RandomHorizontalFlip(),
    augment.RandomVerticalFlip(0.3),
    augment.ColorJitter(0.4, 0.4, (0.0, 2.0)),
    augment.RandomErasing(),
    augment.Cutout(3),
    augment.RandomShift(2, fill=0.3),
    augment.RandomRotation(30),
    augment.RandomScale((0.7, 1.4)),
    augment.RandomAffine((-10, 20), (0.1, 0.2), (0.8, 1.2), 15, fill=1.0),
    augment.Compose([augment.RandomCrop(8, padding=4), augment.RandomHorizontalFlip()]),
]
FIXED = [
    augment.CenterCrop(5),
    augment.Normalize((0.4, 0.5, 0.6), 0.2 * np.ones(3)),
    augment.Compose([augment.CenterCrop((6, 7)), augment.Normalize(0.5, 0.25)]),
    augment.Compose([]),
]


def images(n: int = 20, c: int = 3, h: int = 8, w: int = 8, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).random((n, c, h, w)).astype(dtype)


# ---- what all share ----


@pytest.mark.parametrize("transform", RANDOM + FIXED, ids=repr)
def test_a_sample_depends_on_seed_epoch_and_row_alone(transform):
    x, rows = images(), np.arange(100, 120)
    before = x.copy()
    whole = transform(x, seed=3, epoch=2, rows=rows)
    order = np.random.default_rng(1).permutation(20)
    np.testing.assert_array_equal(
        transform(x[order], seed=3, epoch=2, rows=rows[order]), whole[order]
    )
    for i in range(20):
        alone = transform(x[i : i + 1], seed=3, epoch=2, rows=rows[i : i + 1])
        np.testing.assert_array_equal(alone[0], whole[i])
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("transform", RANDOM, ids=repr)
def test_other_seeds_epochs_and_rows_give_other_images(transform):
    x = np.repeat(images(1), 20, axis=0)
    first = transform(x, seed=3, epoch=2)
    assert transform.random and any((first[i] != first[0]).any() for i in range(20))
    for other in ({"seed": 4, "epoch": 2}, {"seed": 2, "epoch": 3}, {"seed": 3, "epoch": 1}):
        assert (transform(x, **other) != first).any()
    np.testing.assert_array_equal(transform(x, seed=3, epoch=2), first)


@pytest.mark.parametrize("transform", RANDOM + FIXED, ids=repr)
def test_types_sizes_strides_and_pickles(transform):
    x = images(4)
    expected = transform(x)
    assert expected.dtype == np.float32
    assert expected.shape == (4, 3, *transform.output_size(8, 8))
    assert transform(x.astype(np.float64)).dtype == np.float64
    strided = np.asfortranarray(x)
    strided.flags.writeable = False
    np.testing.assert_array_equal(transform(strided), expected)
    assert transform(x[:0]).shape == (0, *expected.shape[1:])
    again = pickle.loads(pickle.dumps(transform))
    np.testing.assert_array_equal(again(x), expected)
    assert repr(again) == repr(transform)


MOVES = (augment.RandomCrop, augment.CenterCrop, augment.RandomShift,
         augment.RandomHorizontalFlip, augment.RandomVerticalFlip)  # fmt: skip


@pytest.mark.parametrize("transform", RANDOM + FIXED, ids=repr)
def test_labels_of_pixels_go_where_the_pixels_go(transform):
    """The image is its own labels, as numbers that no resampling confuses: 1 and 9."""
    y = np.repeat(np.repeat([[[1, 9], [9, 1]]], 4, axis=1), 4, axis=2).repeat(20, axis=0)
    before, x = y.copy(), y[:, None].astype(np.float32).repeat(3, axis=1)
    arguments = {"seed": 3, "epoch": 2, "rows": np.arange(50, 70)}
    moved, labels = transform.with_labels(x, y, **arguments)
    np.testing.assert_array_equal(moved, transform(x, **arguments))
    assert labels.dtype == y.dtype and labels.shape == (20, *moved.shape[2:])
    np.testing.assert_array_equal(y, before)
    if isinstance(transform, MOVES):  # no number is computed anew: they agree in each pixel
        fill = np.float32(getattr(transform, "fill", 0))
        np.testing.assert_array_equal(np.where(labels == 0, fill, labels), moved[:, 0])
    elif hasattr(transform, "maps"):  # away from edges between two numbers they agree
        sure = (abs(moved[:, 0] - 5) == 4) & (labels > 0)
        assert sure.sum() > 200
        np.testing.assert_array_equal(labels[sure], moved[:, 0][sure])
        assert set(np.unique(labels)) <= {0, 1, 9}
    elif not isinstance(transform, augment.Compose):
        assert labels is y


def test_labels_of_pixels_that_do_not_fit():
    x, y = images(2), np.zeros((2, 8, 8), np.int64)
    for wrong in (y[:1], y[:, :5], y.astype(np.float32), y[:, None]):
        with pytest.raises(
            ValueError, match=r"expected labels of pixels, integers of shape \(2, 8"
        ):
            augment.Cutout(3).with_labels(x, wrong)

    class Own(augment.Augmentation):
        def apply(self, x, keys):
            return x

    assert Own()(x) is x
    with pytest.raises(TypeError, match=r"Own: expected a method move\(y, keys\)"):
        augment.Compose([Own()]).with_labels(x, y)


def test_loader_moves_labels_of_pixels():
    x = images(10, 1)
    y = (x[:, 0] > 0.5).astype(np.int64)
    change = augment.Compose([augment.RandomHorizontalFlip(), augment.RandomCrop(7, padding=1)])
    loader = DataLoader((x, y), 4, shuffle=True, augment=change, num_workers=1)
    for images_, labels in loader:
        np.testing.assert_array_equal(labels, images_[:, 0] > 0.5)
    with pytest.raises(ValueError, match=r"integers of shape \(10, 8, 8\), got int64"):
        next(iter(DataLoader((x, y[:, :4]), 10, augment=change)))
    [(_, same)] = DataLoader((x, y.astype(np.float32)), 10, augment=change)
    np.testing.assert_array_equal(same, y)


@pytest.mark.parametrize("transform", FIXED, ids=repr)
def test_fixed_ones_are_transforms_of_datasets(transform):
    assert not transform.random and transform.num_views(8, 8) == 1
    x = images(4)
    dataset = ArrayDataset(x, range(4), transform=transform)
    np.testing.assert_array_equal(dataset.batch(np.array([2, 0]))[0], transform(x)[[2, 0]])


@pytest.mark.parametrize("transform", RANDOM, ids=repr)
def test_random_ones_are_not(transform):
    with pytest.raises(ValueError, match=r"always does the same.*Trainer\.fit"):
        ArrayDataset(images(4), range(4), transform=transform)
    with pytest.raises(ValueError, match="always does the same"):
        ArrayDataset(images(4), range(4)).with_transform(transform)


def test_wrong_batches():
    flip = augment.RandomHorizontalFlip()
    with pytest.raises(TypeError, match="float32 or float64, got uint8"):
        flip(np.zeros((1, 1, 2, 2), np.uint8))
    with pytest.raises(TypeError, match="got list"):
        flip([1.0])
    with pytest.raises(ValueError, match=r"batch \(N, C, H, W\), got shape \(2, 2\)"):
        flip(np.zeros((2, 2), np.float32))
    for rows in ([1], [[1, 2]], [0.5, 1.5]):
        with pytest.raises(ValueError, match="rows of 2 integers"):
            flip(images(2), rows=rows)
    with pytest.raises(ValueError, match=r"rows >= 0, .*, got -3"):
        flip(images(2), rows=[1, -3])


def test_random_numbers():
    """Uniform, of 32 bits, and unlike for neighbouring seeds, epochs, rows and draws."""
    keys = augment.sample_keys(5, 1, np.arange(20_000))
    u = augment.uniforms(keys, 3)
    assert u.shape == (3, 20_000) and (u >= 0).all() and (u < 1).all()
    assert (u * 2**32 == np.floor(u * 2**32)).all()
    counts = np.stack([np.histogram(row, 20, (0, 1))[0] for row in u])
    assert (abs(counts - 1000) < 150).all()
    others = [
        augment.uniforms(augment.sample_keys(s, e, np.arange(20_000)), 1)
        for s, e in [(5, 2), (6, 1)]
    ]
    series = np.concatenate([u, *others, np.roll(u[:1], 1, axis=1)])
    assert (abs(np.corrcoef(series) - np.eye(len(series))) < 0.03).all()
    np.testing.assert_array_equal(augment.uniforms(keys, 1)[0], u[0])
    assert base.integers(np.array([0.0, 1 - 2**-32]), 33).tolist() == [0, 32]


def test_parts_of_a_compose_draw_their_own_numbers():
    twice = augment.Compose([augment.RandomHorizontalFlip()] * 2)
    x = np.repeat(np.arange(2, dtype=np.float32).reshape(1, 1, 1, 2), 400, axis=0)
    flipped = (twice(x)[:, 0, 0, 0] == 1).mean()
    assert 0.4 < flipped < 0.6  # the same numbers would undo the first flip each time
    with pytest.raises(TypeError, match="expected augmentations, got 3"):
        augment.Compose([augment.Cutout(2), 3])


# ---- crops and flips ----


def test_random_crop_takes_every_place():
    x = np.arange(30, dtype=np.float32).reshape(1, 1, 5, 6)
    parts = augment.RandomCrop((3, 4))(np.repeat(x, 200, axis=0))
    seen = set()
    for part in parts[:, 0]:
        top, left = divmod(int(part[0, 0]), 6)
        np.testing.assert_array_equal(part, x[0, 0, top : top + 3, left : left + 4])
        seen.add((top, left))
    assert seen == {(top, left) for top in range(3) for left in range(3)}
    assert augment.RandomCrop((3, 4)).num_views(5, 6) == 9


def test_random_crop_pads():
    x = np.ones((300, 2, 4, 4), np.float32)
    parts = augment.RandomCrop(4, padding=1, fill=7)(x)
    assert set(np.unique(parts)) == {1, 7}
    inside = (parts[:, 0] == 1).sum(axis=(1, 2))
    assert set(inside) == {9, 12, 16}  # a corner, a side, none outside
    with pytest.raises(ValueError, match="at least 7x7 with padding=1, got 4x4"):
        augment.RandomCrop(7, padding=1)(x)


def test_flips():
    x = images(200)
    for transform, axis in (
        (augment.RandomHorizontalFlip(0.3), 3),
        (augment.RandomVerticalFlip(0.3), 2),
    ):
        out = transform(x)
        flipped = np.array([(a == np.flip(b, axis - 1)).all() for a, b in zip(out, x, strict=True)])
        np.testing.assert_array_equal(out[~flipped], x[~flipped])
        assert 40 < flipped.sum() < 80
        assert transform.num_views(8, 8) == 2
    assert augment.RandomHorizontalFlip(1.0).num_views(8, 8) == 1
    np.testing.assert_array_equal(augment.RandomHorizontalFlip(0.0)(x), x)


def test_center_five_and_ten_crop():
    x = images(2, h=7, w=9)
    np.testing.assert_array_equal(augment.CenterCrop(4)(x), x[:, :, 1:5, 2:6])
    five = augment.five_crop(x, (4, 5))
    expected = (
        x[:, :, :4, :5], x[:, :, :4, 4:], x[:, :, 3:, :5], x[:, :, 3:, 4:], x[:, :, 1:5, 2:7],
    )  # fmt: skip
    for got, part in zip(five, expected, strict=True):
        np.testing.assert_array_equal(got, part)
    ten = augment.ten_crop(x, (4, 5))
    assert len(ten) == 10
    np.testing.assert_array_equal(ten[0], five[0])
    np.testing.assert_array_equal(ten[5], five[1][..., ::-1])
    for function in (augment.five_crop, augment.ten_crop):
        with pytest.raises(ValueError, match="at least 8x8"):
            function(x, 8)


def test_views_of_crop_and_flip():
    both = augment.Compose([augment.RandomCrop(224), augment.RandomHorizontalFlip()])
    assert both.num_views(256, 256) == 2 * 33**2
    assert augment.Compose([augment.CenterCrop(230), both]).num_views(256, 256) == 2 * 7**2
    assert augment.Compose([both, augment.ColorJitter(0.1)]).num_views(256, 256) == np.inf


# ---- affine maps ----


def test_random_shift_is_a_padded_crop():
    x = images(300, h=6, w=7)
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=9)
    seen = set()
    for image, wide in zip(augment.RandomShift(2, fill=9)(x), padded, strict=True):
        places = [
            (i, j) for i in range(5) for j in range(5)
            if (image == wide[:, i : i + 6, j : j + 7]).all()
        ]  # fmt: skip
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == augment.RandomShift(2).num_views(6, 7) == 25


def test_right_angles():
    x = images(5)
    for quarter in range(-2, 3):
        turned = augment.RandomRotation((90 * quarter, 90 * quarter))(x)
        np.testing.assert_allclose(turned, np.rot90(x, quarter, axes=(2, 3)), atol=1e-5)


def test_rotation_scale_and_shear_move_a_point():
    """A bright pixel right of the middle and one below it, where the formulas say."""
    x = np.zeros((2, 1, 41, 41), np.float64)
    x[0, 0, 20, 30] = x[1, 0, 30, 20] = 1

    def centres(**options) -> np.ndarray:
        y = augment.RandomAffine(**{"degrees": 0, **options})(x)[:, 0]
        rows, columns = np.mgrid[-20:21, -20:21]
        weight = y.sum(axis=(1, 2))
        return np.stack([(y * columns).sum((1, 2)) / weight, (y * rows).sum((1, 2)) / weight])

    angle = np.radians(30)
    up = [[10 * np.cos(angle), 10 * np.sin(angle)], [-10 * np.sin(angle), 10 * np.cos(angle)]]
    np.testing.assert_allclose(centres(degrees=(30, 30)), up, atol=0.2)
    np.testing.assert_allclose(centres(scale=(1.5, 1.5)), [[15, 0], [0, 15]], atol=0.2)
    np.testing.assert_allclose(
        centres(shear=(45, 45)), [[10, 10], [0, 10]], atol=0.2
    )  # columns lean
    moved = centres(translate=(0.1, 0)) - [[10, 0], [0, 10]]
    assert (abs(moved[0]) <= 4.1).all() and abs(moved[0]).max() > 0.1
    np.testing.assert_allclose(moved[1], 0, atol=1e-9)


def test_affine_ranges():
    keys = augment.sample_keys(0, 0, np.arange(3000))
    m = augment.RandomAffine((-10, 20), (0.1, 0.2), (0.8, 1.25)).maps(keys, 41, 21)
    scale = 1 / np.sqrt(np.linalg.det(m[:, :, :2]))
    angle = np.degrees(np.arctan2(m[:, 1, 0], m[:, 1, 1]))
    middle = np.linalg.solve(m[:, :, :2], ([10, 20] - m[:, :, 2])[..., None])[..., 0] - [10, 20]
    for values, low, high in (
        (angle, -10, 20), (scale, 0.8, 1.25), (middle[:, 0], -2.1, 2.1), (middle[:, 1], -8.2, 8.2),
    ):  # fmt: skip
        margin = (high - low) / 50
        assert low - 1e-9 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-9


# ---- values ----


def test_normalize():
    x = images()
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    expected = (x - np.float32(mean)[:, None, None]) / np.float32(std)[:, None, None]
    np.testing.assert_array_equal(augment.Normalize(mean, std)(x), expected)
    with pytest.raises(ValueError, match="expected 2 channels, got 3"):
        augment.Normalize((0, 0), (1, 1))(x)
    for bad in (((0, 0), (1,)), (0, 0), (np.nan, 1), ((), ())):
        with pytest.raises(ValueError, match="as many means as deviations"):
            augment.Normalize(*bad)


def test_brightness():
    x = images(50) * 0.5
    out = augment.ColorJitter(brightness=0.4)(x)
    factors = (out / x).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(out, x * factors[:, None, None, None], rtol=1e-5)
    assert 0.6 <= factors.min() < 0.7 and 1.3 < factors.max() <= 1.4
    assert augment.ColorJitter(brightness=(3, 3))(x).max() == 1


def test_contrast_and_saturation():
    x = 0.4 + 0.2 * images(5)
    flat = augment.ColorJitter(contrast=(0, 0))(x)
    assert (flat == flat[:, :1, :1, :1]).all()
    luma = np.einsum("c,nchw->nhw", [0.299, 0.587, 0.114], x)
    np.testing.assert_allclose(flat[:, 0, 0, 0], luma.mean(axis=(1, 2)), rtol=1e-5)
    grey = augment.ColorJitter(saturation=(0, 0))(x)
    np.testing.assert_allclose(grey, np.repeat(luma[:, None], 3, axis=1), rtol=1e-5)
    one = augment.ColorJitter(saturation=0.5)(x[:, :1])
    np.testing.assert_array_equal(one, x[:, :1])
    for bad in (-0.1, (0.5, 0.2), (-1, 1)):
        with pytest.raises(ValueError, match="contrast >= 0"):
            augment.ColorJitter(contrast=bad)


def rectangle(hole: np.ndarray) -> tuple[int, int]:
    """Height and width of the region that is True, which must be a rectangle."""
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    if not len(rows):
        return 0, 0
    assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert hole.sum() == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    return rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


def test_random_erasing():
    x = np.ones((400, 2, 20, 30), np.float32)
    out = augment.RandomErasing(0.6, scale=(0.1, 0.2), ratio=(0.5, 2.0), value=3)(x)
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    sizes = np.array([rectangle(image == 3) for image in out[:, 0]])
    erased = sizes[:, 0] > 0
    assert 200 < erased.sum() < 280
    area, ratio = sizes[erased].prod(axis=1) / 600, sizes[erased, 0] / sizes[erased, 1]
    assert area.min() > 0.08 and area.max() < 0.23 and ratio.min() > 0.4 and ratio.max() < 2.4
    assert (np.unique(out[:, 0][out[:, 0] != 1]) == 3).all()
    tall = augment.RandomErasing(1.0, scale=(1, 1), ratio=(50, 50))(x[:5])
    assert all(rectangle(image == 0)[0] == 20 for image in tall[:, 0])


def test_cutout():
    out = augment.Cutout(3, value=2)(np.ones((500, 1, 6, 5), np.float32))
    sizes = {rectangle(image == 2) for image in out[:, 0]}
    assert sizes == {(h, w) for h in (2, 3) for w in (2, 3)}
    hit = (out[:, 0] == 2).any(axis=0)
    assert hit.all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: augment.RandomCrop(0),
        lambda: augment.RandomCrop((3, 4, 5)),
        lambda: augment.RandomCrop(3, padding=-1),
        lambda: augment.CenterCrop("3"),
        lambda: augment.RandomHorizontalFlip(1.1),
        lambda: augment.RandomVerticalFlip(-0.1),
        lambda: augment.RandomErasing(scale=(0.5, 0.2)),
        lambda: augment.RandomErasing(ratio=(0, 1)),
        lambda: augment.Cutout(0),
        lambda: augment.RandomShift(-1),
        lambda: augment.RandomRotation(-5),
        lambda: augment.RandomRotation((5, -5)),
        lambda: augment.RandomRotation("5"),
        lambda: augment.RandomScale((0, 1)),
        lambda: augment.RandomAffine(0, translate=(0.1, 2)),
        lambda: augment.RandomAffine(0, shear=90),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(ValueError, match="expected"):
        make()
