"""Fitting a distribution to a table of prompts so that no row of it can be recovered.

Rows are grouped by their tumour organs. Each group keeps the counts of its columns, the pairwise tables
of its categories, and for numbers their quantiles, their normal scores by category and their rank
correlations. See `prompts.sampling.tables` for what is merged and how.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from manifests.errors import InvalidValueError
from manifests.identity import content_hash, rng
from prompts.sampling.columns import (
    ROOT,
    UNSTATED,
    Columns,
    categories,
    encode,
    number_range,
    numbers,
    pattern_organs,
    root_level,
)
from prompts.sampling.fitted import Fitted
from prompts.sampling.numbers import NormalScores, fit_numbers, stated_column
from prompts.sampling.tables import MERGED, POOLED, Group, Pair
from prompts.schema import Prompt

__all__ = ["MIN_COUNT", "fit"]

MIN_COUNT = 5
_OWN_GROUP = 10
_UNNUMBERED_SHARE = 0.01


def fit(prompts: Sequence[Prompt], name: str, min_count: int = MIN_COUNT) -> Fitted:
    """Fit a distribution to prompts.

    Args:
        prompts: one row for each patient.
        name: what the distribution is called in tables drawn from it.
        min_count: no stored figure describes fewer rows.

    Raises:
        InvalidValueError: if `min_count` is below 2, or no tumour organs are shared by `min_count` rows.
    """
    if min_count < 2:
        raise InvalidValueError(
            "--min-count", got=str(min_count), need="2 or more", do="A count of one row is a patient; 5 is usual."
        )
    rows = _with_common_organs([encode(prompt) for prompt in prompts], min_count)
    if len(rows) < min_count:
        raise InvalidValueError(
            "prompts to fit",
            got=f"{len(prompts)} prompts, {len(rows)} of them with tumour organs that {min_count} prompts share",
            need=f"at least {min_count} rows (--min-count)",
            do="Give more rows, lower --min-count, or build from the table itself.",
        )
    noise = _Noise.of(rows, min_count)
    members: dict[str, list[Columns]] = {}
    counts = Counter(str(row[ROOT]) for row in rows)
    for row in rows:
        organs = str(row[ROOT])
        own = counts[organs] >= _OWN_GROUP * min_count
        members.setdefault(organs if own else "", []).append(row)
    groups = {organs or "others": _Fit(rows, min_count, noise).group() for organs, rows in sorted(members.items())}
    return Fitted(format=1, name=name, kind="fitted", rows=len(rows), min_count=min_count, group=groups)


def _with_common_organs(rows: Sequence[Columns], min_count: int) -> list[Columns]:
    """Rows whose tumour organs are common, after leaving out last tumours; what stays rare is pooled or dropped."""
    kept: list[Columns] = list(rows)
    for length in range(max((len(pattern_organs(str(row[ROOT]))) for row in rows), default=0), 1, -1):
        counts = Counter(row[ROOT] for row in kept)
        kept = [
            _truncated(row, length - 1)
            if len(pattern_organs(str(row[ROOT]))) == length and counts[row[ROOT]] < min_count
            else row
            for row in kept
        ]
    counts = Counter(row[ROOT] for row in kept)
    rare = [row for row in kept if counts[row[ROOT]] < min_count]
    if len(rare) >= min_count and len({row[ROOT] for row in rare}) > 1:
        return kept  # they are pooled as the rare levels of a column are
    return [row for row in kept if counts[row[ROOT]] >= min_count]


def _truncated(row: Columns, tumours: int) -> Columns:
    """The row with its last tumour left out."""
    organs = pattern_organs(str(row[ROOT]))[:tumours]
    kept = {name: value for name, value in row.items() if not name.endswith(f"_{tumours + 1}")}
    return kept | {ROOT: root_level(organs)}


@dataclass(frozen=True, slots=True)
class _Noise:
    """Noise of one row on counts, which only those who hold the table can know."""

    secret: str
    min_count: int

    @classmethod
    def of(cls, rows: Sequence[Columns], min_count: int) -> "_Noise":
        return cls(content_hash([dict(row) for row in rows]), min_count)

    def on(self, counts: Mapping[str, int], where: str) -> dict[str, int]:
        """The counts with -1, 0 or 1 added to each; those of enough rows stay so."""
        random = rng(self.secret, where)
        moved = {level: count + int(random.integers(-1, 2)) for level, count in sorted(counts.items())}
        return {level: max(n, self.min_count) if counts[level] >= self.min_count else n for level, n in moved.items()}


@dataclass(frozen=True, slots=True)
class _Fit:
    """Fitting of one group."""

    rows: Sequence[Columns]
    min_count: int
    noise: _Noise

    def group(self) -> Group:
        """All tables of the group."""
        slots = max(len(pattern_organs(str(row[ROOT]))) for row in self.rows)
        named = {name: self._values(name) for name in (ROOT, *categories(slots))}
        scores: dict[str, NormalScores] = {}
        for name in numbers(slots):
            stated = np.array([isinstance(row.get(name), float | int) for row in self.rows])
            if stated.sum() < self.min_count:
                continue
            scores[name] = NormalScores.of([row.get(name) for row in self.rows], self.min_count, number_range(name))
            if (~stated).sum() >= self.min_count:
                named[stated_column(name)] = ["stated" if one else UNSTATED for one in stated]
        category, coded = {}, {}
        for name, values in named.items():
            cells = self._levels(values, name)
            if not cells or list(cells) == [UNSTATED]:
                continue
            category[name] = cells
            level_of = {member: level for level in cells for member in level.split(POOLED)}
            coded[name] = [level_of.get(value) for value in values]
        return Group(
            rows=sum(category[ROOT].values()),
            category=category,
            pair=tuple(self._pairs(category, coded)),
            number=fit_numbers(
                scores,
                coded,
                self.min_count,
                lambda counts, where: self.noise.on(counts, f"{self.rows[0][ROOT]}:{where}"),
            ),
            unnumbered=self._unnumbered(tuple(named), tuple(scores)) if scores else (),
        )

    def _values(self, name: str) -> list[str]:
        return [str(row.get(name) or UNSTATED) for row in self.rows]

    def _levels(self, values: Sequence[str], name: str) -> dict[str, int]:
        """Rows of each level; rare ones pooled, or left out where all of them together are rare."""
        counts = Counter(values)
        noisy = self.noise.on(counts, f"{self.rows[0][ROOT]}:{name}")
        kept = {level: n for level, n in noisy.items() if counts[level] >= self.min_count}
        rare = sorted(set(counts) - set(kept))
        if sum(counts[level] for level in rare) >= self.min_count:
            kept[POOLED.join(rare)] = max(sum(noisy[level] for level in rare), self.min_count)
        return dict(sorted(kept.items(), key=lambda item: (-item[1], item[0])))

    def _pairs(
        self, category: Mapping[str, Mapping[str, int]], coded: Mapping[str, Sequence[str | None]]
    ) -> list[Pair]:
        columns = [name for name in category if len(category[name]) > 1]
        pairs = []
        for later, of in enumerate(columns):
            for given in columns[:later]:
                rows = {}
                for level in category[given]:
                    pairing = zip(coded[given], coded[of], strict=True)
                    counts = Counter(theirs for ours, theirs in pairing if ours == level and theirs is not None)
                    if cells := self._cells(counts, category[of], f"{given}={level}:{of}"):
                        rows[level] = cells
                if rows:
                    pairs.append(Pair(given=given, of=of, rows=rows))
        return pairs

    def _cells(self, counts: Mapping[str, int], levels: Mapping[str, int], where: str) -> dict[str, int]:
        """Cells of one row of a pair table that are large enough; the others together where they are."""
        true = {level: counts.get(level, 0) for level in levels}
        noisy = self.noise.on(true, where)
        kept = {level: noisy[level] for level in levels if true[level] >= self.min_count}
        rest = [level for level in levels if level not in kept]
        if sum(true[level] for level in rest) >= self.min_count:
            kept[MERGED.join(rest)] = max(sum(noisy[level] for level in rest), self.min_count)
        return kept

    def _unnumbered(self, names: Sequence[str], scored: Sequence[str]) -> tuple[dict[str, str], ...]:
        """Combinations of categories that enough rows without any number share."""
        columns = [name for name in names if not name.endswith(" stated")]
        found = Counter(
            tuple(str(row.get(name) or UNSTATED) for name in columns)
            for row in self.rows
            if all(row.get(name) is None for name in scored)
        )
        enough = max(self.min_count, int(np.ceil(_UNNUMBERED_SHARE * len(self.rows))))
        return tuple(
            {name: level for name, level in zip(columns, levels, strict=True) if level != UNSTATED}
            for levels, count in sorted(found.items())
            if count >= enough
        )
