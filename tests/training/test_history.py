"""History: series, JSON, and what is refused."""

import json
import math

import pytest

from fastcnn.training import History, schedules


def example() -> History:
    history = History(interrupted=True)
    history.append(train_loss=0.5, train_accuracy=0.75, learning_rate=0.1, seconds=1.25)
    history.append(train_loss=1 / 3, train_accuracy=0.9, validation_loss=0.1 + 0.2)
    return history


def test_json_round_trip_is_exact() -> None:
    history = example()
    back = History.from_json(history.to_json())
    assert back.to_dict() == history.to_dict()
    assert back.train_loss == [0.5, 1 / 3] and back.validation_loss[1] == 0.1 + 0.2
    assert math.isnan(back.validation_loss[0]) and back.interrupted and len(back) == 2


def test_json_is_strict() -> None:
    """NaN is no JSON: others must be able to read the file."""
    text = example().to_json()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))["seconds"] == [
        1.25,
        None,
    ]


def test_append_refuses_unknown_series() -> None:
    with pytest.raises(TypeError, match=r"\['los'\]"):
        History().append(los=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": []}, "expected the keys"),
        ({"seconds": 5}, "seconds to be a list"),
        ({"seconds": [1.0]}, "seconds to be a list"),
        ({"train_loss": [1.0, "x"]}, "numbers or null in train_loss"),
        ({"train_loss": [1.0, True]}, "numbers or null in train_loss"),
        ({"interrupted": 1}, "true or false"),
    ],
)
def test_what_is_no_history(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        History.from_json(json.dumps({**example().to_dict(), **change}))


@pytest.mark.parametrize("text", ["", "[]", "7", "{", '{"train_loss": []}'])
def test_what_is_no_json_of_a_history(text: str) -> None:
    with pytest.raises(ValueError, match=r"History|Expect"):
        History.from_json(text)


def test_plot() -> None:
    pytest.importorskip("matplotlib")
    assert len(example().plot().axes) == 2


# ---- schedules ----


def test_schedules_at_known_points() -> None:
    assert [schedules.constant(t) for t in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]
    assert schedules.cosine(1 / 3) == pytest.approx(0.75)
    thirds = schedules.step(0.1, 3)
    assert [thirds(t) for t in (0.0, 0.3, 0.4, 0.7, 1.0)] == pytest.approx([1, 1, 0.1, 0.01, 0.01])
    cycle = schedules.one_cycle(0.5, start=0.2, end=0.1)
    assert [cycle(t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx(
        [0.2, 0.6, 1, 0.55, 0.1]
    )


def test_schedules_refuse() -> None:
    for arguments in ((0.1, 0), (0.0, 3), (math.nan, 3)):
        with pytest.raises(ValueError, match="expected factor > 0 and steps >= 1"):
            schedules.step(*arguments)
    for warmup in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="0 < warmup < 1"):
            schedules.one_cycle(warmup)
