"""Layers with random values: whose numbers they are, their law, and when they change."""

import numpy as np
import pytest

from meanformer.attention import Attention, Head, RandomLayers

MODEL = Attention(beta=2.0)


def value(layer, head=0):
    return layer.all_heads[head].matrices[2]


def test_values_belong_to_the_seed_and_the_layer():
    layers, again, other = (RandomLayers(MODEL, 3, seed) for seed in (7, 7, 8))
    backwards = [value(again.layer(number)) for number in (4, 3, 2, 1, 0)][::-1]
    for number, expected in enumerate(backwards):
        assert np.array_equal(value(layers.layer(number)), expected)
        assert np.abs(value(other.layer(number)) - expected).max() > 0.1
    assert np.abs(backwards[0] - backwards[1]).max() > 0.1


def test_values_have_the_stated_scale():
    heads = [Head(2.0), Head(None, 3.0)]
    layers = RandomLayers(Attention(beta=2.0, heads=heads), 16, 1, scale=0.5)
    drawn = [layers.layer(number) for number in range(300)]
    values = np.array([[head.value for head in layer.heads] for layer in drawn])
    assert values.shape == (300, 2, 16, 16)
    # 153 600 numbers of N(0, 1/64): four standard errors of their mean and mean square.
    count, variance = values.size, 0.25 / 16
    assert abs(values.mean()) < 4 * np.sqrt(variance / count)
    assert abs((values**2).mean() / variance - 1) < 4 * np.sqrt(2 / count)
    assert [head.query for head in drawn[3].heads] == [2.0, None]


@pytest.mark.parametrize("duration", [0.1, 0.3, 1 / 3, 1e-3])
def test_layers_follow_one_another(duration):
    layers, time = RandomLayers(MODEL, 2, 1, duration=duration), 0.0
    for number in range(1, 200):
        before, change = value(layers.at(time)), layers.next_change(time)
        assert change == float(f"{number * duration:.12g}")
        assert np.array_equal(value(layers.at(np.nextafter(change, 0))), before)
        assert np.array_equal(value(layers.during(change)), value(layers.layer(number)))
        time = change


def test_each_system_has_a_value_of_its_own():
    heads = [Head(2.0), Head(None, 3.0)]
    layers = RandomLayers(Attention(beta=2.0, heads=heads), 3, 5)
    everyone, some = layers.for_systems(range(40)), layers.for_systems(range(7, 19))
    for number in (0, 6):
        stacks = [value(everyone.layer(number), head) for head in (0, 1)]
        assert stacks[0].shape == (40, 3, 3)
        for head, stack in enumerate(stacks):
            assert np.array_equal(value(layers.layer(number), head), stack[0])
            assert np.array_equal(value(some.layer(number), head), stack[7:19])
        values = np.reshape(stacks, (-1, 9))
        assert len(np.unique(values[:, 0])) == 80


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"scale": 0.0}, "scale is 0"),
        ({"duration": np.inf}, "duration is inf"),
    ],
)
def test_refuses(given, match):
    with pytest.raises(ValueError, match=match):
        RandomLayers(MODEL, 3, **({"seed": 0} | given))
