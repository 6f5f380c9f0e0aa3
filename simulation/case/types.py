"""What every table of a case is made of: the base model, bounded numbers, texts and files."""

import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from meanformer.simulation.case.errors import refusal


class Table(BaseModel):
    """A table of a case: frozen, hashable, strictly typed, no unknown keys, no nan or inf."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def given(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that are there."""
        return [key for key in keys if getattr(self, key) is not None]

    def with_defaults(self, defaults: Mapping[str, Any]) -> Self:
        """The table with these values of the keys that are not there."""
        missing = {key: value for key, value in defaults.items() if getattr(self, key) is None}
        return self.model_copy(update=missing)


def _visible(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise refusal(f"{text!r} is not allowed; must be a non-empty string")
    return text


def _resolved(path: str, info: ValidationInfo) -> str:
    return os.path.abspath(os.path.join((info.context or {}).get("folder", ""), path))


Positive = Annotated[float, Field(gt=0)]
"""A finite number > 0."""

NonNegative = Annotated[float, Field(ge=0)]
"""A finite number >= 0."""

Text = Annotated[str, Field(min_length=1), AfterValidator(_visible)]
"""A string that is not blank."""

Path = Annotated[Text, AfterValidator(_resolved)]
"""A file, relative to the case file; absolute once resolved."""
