"""A case at several values of one key."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.case.reading import apply_overrides, plain, value_of


def spell(value: object) -> str:
    """A value as the user would write it, strings without quotes."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def variants_of(
    case: Case | str | Path, key: str, values: Sequence[object], overrides: Sequence[str]
) -> list[tuple[Any, Case]]:
    """The values, and the case at each of them; arguments are those of ``converge``.

    Raises:
        CaseError: With all that is wrong.
    """
    texts = [spell(plain(value)) for value in values]
    if len(texts) < 2:
        raise CaseError([f"{key}: a study needs at least two values"], "command line")
    variants: list[tuple[Any, Case]] = []
    problems: list[str] = []
    source: str | None = None
    for text in texts:
        try:
            one = _variant(case, [*overrides, f"{key}={text}"])
        except CaseError as error:
            if error.source == "command line":  # not a value, but the key itself
                raise
            problems, source = [*problems, *error.problems], error.source
            continue
        if any(one == other for _, other in variants):
            raise CaseError([f"{key}: {text} is given twice"], "command line")
        variants.append((value_of(text), one))
    if problems:
        raise CaseError(dict.fromkeys(problems), source)
    return variants


def _variant(case: Case | str | Path, overrides: Sequence[str]) -> Case:
    if not isinstance(case, Case):
        return Case.load(case, overrides)
    data = tomllib.loads(case.to_toml())
    apply_overrides(data, overrides)
    return Case.from_dict(data)


def is_number(value: object) -> bool:
    """Whether a value of TOML is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
