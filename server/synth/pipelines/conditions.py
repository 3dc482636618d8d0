"""What a pipeline is asked for a class of the data set: prompts of text-to-image ones, labels of conditional ones.

Where a class has several, samples take turns by their seeds, so that a sample's prompt does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from server.errors import ConfigError, DataError

PLACE = "{class}"
DEFAULT_TEMPLATE = "a photo of a {class}"
Several = str | tuple[str, ...]
Label = int | str
Labels = Label | tuple[Label, ...]


@dataclass(frozen=True)
class Conditions:
    """`options[c]` are the values of the pipeline's argument `name` for class c; `also` goes with each sample."""

    name: str
    options: tuple[tuple[Any, ...], ...]
    also: tuple[tuple[str, Any], ...] = ()

    def arguments(self, classes: np.ndarray, seeds: np.ndarray) -> dict[str, list[Any]]:
        """Classes (N,) and seeds (N,) -> lists of N for the pipeline's call."""
        own = (self.options[int(c)] for c in classes)
        chosen = [options[int(seed) % len(options)] for options, seed in zip(own, seeds, strict=True)]
        return {self.name: chosen, **{name: [value] * len(classes) for name, value in self.also}}


def prompts(
    class_names: tuple[str, ...],
    template: str | None = None,
    own: Mapping[str, Several] | None = None,
    negative: str | None = None,
) -> Conditions:
    """A prompt a class: of `own` by its name, else the template with its name in place of {class}.

    Raises ConfigError for a template without that place and for prompts of no class, DataError for a class that has
    neither a prompt nor a name that says what it shows.
    """
    own = own or {}
    template = DEFAULT_TEMPLATE if template is None else template
    check_template(template)
    _check_classes("synth.prompts", own, class_names)
    options = []
    for number, name in enumerate(class_names):
        if name in own:
            options.append(_several(f"synth.prompts.{name}", own[name]))
        elif not name.strip() or name.strip().isdigit():
            raise DataError(
                f'class {number} of the data is named "{name}", which says nothing of what it shows: give it a prompt, '
                f'as synth.prompts = {{ "{name}" = "..." }}'
            )
        else:
            options.append((template.replace(PLACE, name.replace("_", " ")),))
    return Conditions("prompt", tuple(options), () if negative is None else (("negative_prompt", negative),))


def check_template(template: str) -> None:
    """Raises ConfigError where the class has no place in it."""
    if PLACE not in template:
        raise ConfigError(
            f'synth.template: "{template}" has no place for the class; write {PLACE} where its name goes, as in '
            f'"{DEFAULT_TEMPLATE}"'
        )


def labels(
    class_names: tuple[str, ...],
    by_name: Mapping[str, int],
    n_labels: int | None = None,
    own: Mapping[str, Labels] | None = None,
) -> Conditions:
    """The pipeline's labels of each class: of `own` by the class's name, else the one of the same name.

    Numbers of `own` are labels, texts are names of labels; both below `n_labels`. Names agree whatever their case, with
    _ as a space. Raises ConfigError for a class without a label and a label that the pipeline does not have.
    """
    own = own or {}
    _check_classes("synth.labels", own, class_names)
    known = {_plain(name): number for name, number in by_name.items()}
    options = []
    lacking = [name for name in class_names if name not in own and _plain(name) not in known]
    if lacking:
        raise ConfigError(
            f"synth.labels: no label for the class {', '.join(lacking)}, and the pipeline has none of that name; give "
            f"one or several, as synth.labels = {{ {_key(lacking[0])} = 0 }}"
        )
    for name in class_names:
        asked = own.get(name, name)
        chosen = []
        for label in _several(f"synth.labels.{name}", asked):
            number = label if isinstance(label, int) else known.get(_plain(label))
            if number is None:
                raise ConfigError(f'synth.labels.{name}: the pipeline has no label "{label}"{_close(label, by_name)}')
            if number < 0 or (n_labels is not None and number >= n_labels):
                most = "" if n_labels is None else f"to {n_labels - 1}"
                raise ConfigError(
                    f"synth.labels.{name}: is {number}; labels of this pipeline run from 0 {most}".rstrip()
                )
            chosen.append(number)
        options.append(tuple(chosen))
    return Conditions("class_labels", tuple(options))


def _check_classes(field: str, own: Mapping[str, object], class_names: tuple[str, ...]) -> None:
    for name in own:
        if name not in class_names:
            raise ConfigError(f'{field}: "{name}" is no class of the data{_close(name, class_names)}')


def _several(field: str, value: Any) -> tuple[Any, ...]:
    options = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not options or any(isinstance(option, str) and not option.strip() for option in options):
        raise ConfigError(f"{field}: is empty; give one or several")
    return options


def _close(name: str, others: Iterable[str]) -> str:
    others = list(others)
    near = get_close_matches(name, others, 3, 0.5) or others[:10]
    return f"; there are {', '.join(near)}" if near else ""


def _plain(name: str) -> str:
    return name.replace("_", " ").strip().casefold()


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else f'"{name}"'
