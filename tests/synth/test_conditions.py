"""Prompts and labels of the classes, and images brought to the data's size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from server.errors import ConfigError, DataError
from server.synth.pipelines.conditions import labels, prompts
from server.synth.pipelines.images import check_images, to_data_set


def test_a_class_has_the_template_or_its_own_prompts_in_turn() -> None:
    asked = prompts(("cat", "fire_engine"), "one {class}", {"cat": ("a cat", "a kitten")}, "blurred")
    assert asked.arguments(np.array([0, 1, 0]), np.array([4, 5, 7])) == {
        "prompt": ["a cat", "one fire engine", "a kitten"],
        "negative_prompt": ["blurred"] * 3,
    }
    assert prompts(("cat",)).arguments(np.array([0]), np.array([2**63 - 1])) == {"prompt": ["a photo of a cat"]}
    assert prompts(("7",), own={"7": "a stop sign"}).options == (("a stop sign",),)


def test_a_label_is_the_one_of_the_same_name_or_given() -> None:
    by_name = {"Fire Engine": 555, "tabby": 281, "Egyptian cat": 285, "ox": 345}
    asked = labels(("fire_engine", "cat", "dog"), by_name, 1000, {"cat": ("tabby", "egyptian cat"), "dog": 207})
    assert asked.options == ((555,), (281, 285), (207,))
    assert asked.arguments(np.array([1, 1, 0]), np.array([0, 1, 1])) == {"class_labels": [281, 285, 555]}


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (
            {"template": "a photo"},
            ConfigError,
            r'synth\.template: "a photo" has no place for the class; write \{class\}',
        ),
        ({"own": {"dgo": "x"}}, ConfigError, r'synth\.prompts: "dgo" is no class of the data; there are dog'),
        ({"own": {"dog": " "}}, ConfigError, r"synth\.prompts\.dog: is empty; give one or several"),
        ({"own": {"dog": ()}}, ConfigError, r"synth\.prompts\.dog: is empty"),
        ({"class_names": ("a", "12")}, DataError, r'class 1 of the data is named "12", which says nothing .*"12" = '),
        ({"class_names": ("a", "")}, DataError, r'class 1 of the data is named ""'),
    ],
)
def test_prompts_that_say_nothing_are_refused(given: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        prompts(**({"class_names": ("cat", "dog")} | given))


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"cat": 1}, r"synth\.labels: no label for the class dog, ox, and the pipeline .*\{ dog = 0 \}"),
        ({"cat": 1, "dog": 10, "ox": 2}, r"synth\.labels\.dog: is 10; labels of this pipeline run from 0 to 9"),
        ({"cat": 1, "dog": -1, "ox": 2}, r"synth\.labels\.dog: is -1"),
        ({"cat": 1, "dog": "wolff", "ox": 2}, r'synth\.labels\.dog: the pipeline has no label "wolff"; there are wolf'),
        ({"cow": 1}, r'synth\.labels: "cow" is no class of the data'),
    ],
)
def test_labels_that_are_not_there_are_refused(own: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        labels(("cat", "dog", "ox"), {"wolf": 3, "tabby": 4}, 10, own)


def test_fine_patterns_become_their_mean() -> None:
    """A chessboard of single pixels at an eighth of its size is grey; picked pixels would be black or white."""
    board = (torch.arange(64)[:, None] + torch.arange(64)[None]).remainder(2).float().expand(1, 3, 64, 64)
    images = to_data_set(board, (8, 8, 3))
    assert images.shape == (1, 8, 8, 3)
    assert np.abs(images[:, 1:-1, 1:-1].astype(int) - 127.5).max() <= 1.5


def test_grey_is_luma_and_the_middle_is_kept() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert (to_data_set(red, (4, 4, 1)) == 76).all()  # 0.299 * 255 = 76.2
    stripes = torch.zeros(1, 1, 8, 8)
    stripes[..., 2:6] = 1.0
    assert (to_data_set(stripes, (8, 4, 3)) == 255).all()  # columns 2 to 5
    assert to_data_set(torch.full((1, 3, 8, 8), 0.5), (16, 16, 3)).shape == (1, 16, 16, 3)
    with pytest.raises(DataError, match="the pipeline's images have 4 channels, the data 3"):
        to_data_set(torch.zeros(1, 4, 8, 8), (8, 8, 3))


def test_images_that_are_none_are_refused() -> None:
    fine = torch.full((2, 3, 4, 4), 0.5)
    check_images(fine, "p")
    black = fine.clone()
    black[1] = 0.0
    with pytest.raises(DataError, match="images of p come out all black: its weights do not go with"):
        check_images(black, "p")
    with pytest.raises(DataError, match="come out all black: its numbers do not fit half precision: sample on a CPU"):
        check_images(black.half(), "p")
    with pytest.raises(DataError, match="hold numbers that are not finite"):
        check_images(black * float("nan"), "p")
