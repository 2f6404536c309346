"""Words to numbers for the text encoder that is trained with the model.

A vocabulary is the list of words of the training texts, and of whole numbers. What is not in the list, a word or a
larger number, is spelled in letters or digits, so anything can be said.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["Tokenizer", "vocabulary"]

_PARTS = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")
_SPELLING = tuple("abcdefghijklmnopqrstuvwxyz0123456789.,;:/-+%()")
_NUMBERS = tuple(str(number) for number in range(10, 251))
"""Ages, heights, weights and sizes are each one token: a value is learnt sooner than how digits make it up."""
PADDING, UNKNOWN = 0, 1


def vocabulary(texts: Iterable[str], most: int = 4000) -> tuple[str, ...]:
    """Words of a corpus, the most frequent first (ties by spelling), behind letters, digits, signs and numbers."""
    counts = Counter(part for text in texts for part in _PARTS.findall(text.lower()))
    known = {*_SPELLING, *_NUMBERS}
    words = sorted(
        (word for word in counts if word not in known and not word.isdigit()), key=lambda word: (-counts[word], word)
    )
    return (*_SPELLING, *_NUMBERS, *words[:most])


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Turns texts into rows of numbers; 0 is padding, 1 what can be neither read nor spelled.

    Attributes:
        words: the vocabulary.
        length: tokens of a text at most; a longer text is cut.
    """

    words: tuple[str, ...]
    length: int = 96

    @property
    def size(self) -> int:
        """Different numbers that occur."""
        return len(self.words) + 2

    @property
    def values(self) -> Float[Tensor, " w"]:
        """What each number says as a value; NaN for words and signs."""
        said = [float(word) if word.isdigit() else float("nan") for word in self.words]
        return torch.tensor([float("nan"), float("nan"), *said])

    def __call__(self, texts: Sequence[str]) -> Int64[Tensor, "b n"]:
        """Numbers of each text, padded with 0 to the longest of them; an empty text is one unknown token."""
        numbers = {word: number for number, word in enumerate(self.words, 2)}
        rows = [self._row(text, numbers) or [UNKNOWN] for text in texts]
        padded = torch.full((len(rows), max(map(len, rows))), PADDING)
        for place, row in zip(padded, rows, strict=True):
            place[: len(row)] = torch.tensor(row)
        return padded

    def _row(self, text: str, numbers: dict[str, int]) -> list[int]:
        row: list[int] = []
        for part in _PARTS.findall(text.lower()):
            row += [numbers[part]] if part in numbers else [numbers.get(letter, UNKNOWN) for letter in part]
        return row[: self.length]
