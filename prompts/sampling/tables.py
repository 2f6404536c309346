"""The tables of a fitted distribution, as its TOML file holds them.

Nothing in them describes fewer than `min_count` rows. Counts carry noise of one row, so that subtracting
tables from each other gives no count of a smaller cell either. A key `a + b` stands for levels too rare to
be counted apart, drawn in equal parts; a key `a | b` for cells of a pair table that are too small one by one, and
are divided as the levels are in the whole group.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["MERGED", "POOLED", "Cells", "Group", "Number", "Pair", "Shift"]

POOLED, MERGED = " + ", " | "
Count = Annotated[int, Field(ge=1)]
Cells = Mapping[str, Count]
"""Rows of each level, or of each set of merged levels."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Pair(_Table):
    """How one column depends on another: rows of each of its levels, for each level of the other."""

    given: str
    of: str
    rows: Mapping[str, Cells]


class Shift(_Table):
    """Where the normal scores of a number lie among the rows of one level.

    Attributes:
        mean, sd: of the scores.
        quarters: rows in quarters "1" (lowest) to "4" of the whole group, where there are enough.
    """

    mean: Annotated[float, Field(ge=-5, le=5)]
    sd: Annotated[float, Field(gt=0, le=5)]
    quarters: Cells = {}


class Number(_Table):
    """A number of those rows that state it.

    Attributes:
        decimals: drawn values have exactly so many, the last never 0; no value of the table is of that form.
        quantiles: values at equal steps of probability, each the mean of several rows.
        by: how the number moves with each level of the categories.
        rank_correlation: Spearman's, with numbers that come before.
    """

    decimals: Annotated[int, Field(ge=1, le=9)]
    quantiles: Annotated[tuple[float, ...], Field(min_length=2, max_length=200)]
    by: Mapping[str, Mapping[str, Shift]] = {}
    rank_correlation: Mapping[str, Annotated[float, Field(ge=-1, le=1)]] = {}

    @model_validator(mode="after")
    def _ascending(self) -> "Number":
        if any(later <= earlier for earlier, later in zip(self.quantiles, self.quantiles[1:], strict=False)):
            raise ValueError("quantiles must ascend")
        return self


class Group(_Table):
    """Rows with the same tumour organs, or all rows whose tumour organs are too few for a group of their own.

    Attributes:
        category: rows of each level of each categorical column, tumour organs included; a column
            `NUMBER stated` says in how many rows that number is stated. A column that is left out is never stated.
        pair: the columns that hang together.
        number: what is known of each number; one that is left out is never stated.
        unnumbered: rows without any number that are common enough to be drawn as they are.
    """

    rows: Count
    category: Mapping[str, Cells]
    pair: tuple[Pair, ...] = ()
    number: Mapping[str, Number] = {}
    unnumbered: tuple[Mapping[str, str], ...] = ()
