"""What every distribution of prompts can do: draw row i of a seed, in one of four modes."""

from abc import ABC, abstractmethod

from pydantic import BaseModel, ConfigDict

from manifests.errors import FactoryError, InvalidValueError
from manifests.identity import content_hash
from prompts.sampling.sequences import Mode
from prompts.schema import Prompt, Tumour

__all__ = ["Distribution", "site_of"]


class Distribution(BaseModel, ABC):
    """A distribution of prompts that a TOML file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    name: str

    @property
    def distribution_id(self) -> str:
        """Identity of the content."""
        return content_hash(self.model_dump_json())  # as text: upper bounds of stages may be infinite

    @abstractmethod
    def draw(self, seed: int, index: int, mode: Mode = "match") -> Prompt:
        """Draw prompt `index` of a seed; the same however many are drawn."""

    @property
    @abstractmethod
    def strata(self) -> tuple[str, ...]:
        """The tumour sites among which `balanced` goes in turn; each as `site_of` names it."""

    def sample(self, n: int, seed: int, mode: Mode = "match") -> list[Prompt]:
        """Draw the first `n` prompts of a seed.

        Raises:
            InvalidValueError: if `n` is negative, `balanced` finds no tumour to balance, or the tables hold figures
                from which nothing can be drawn (a file edited by hand).
        """
        if n < 0:
            raise InvalidValueError("--n", got=str(n), need="0 or more", do="Ask for that many prompts.")
        if mode == "balanced" and not self.strata:
            raise InvalidValueError(
                f"distribution {self.name}",
                got="no tumour site",
                need="rows with a tumour for --mode balanced",
                do="Use another mode.",
            )
        try:
            return [self.draw(seed, index, mode) for index in range(n)]
        except FactoryError:
            raise
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:
            raise InvalidValueError(
                f"distribution {self.name}",
                got=str(error).split("\n")[0][:200],
                need="shares, ranges and curves that can be drawn from",
                do="Correct the figures.",
            ) from error


def site_of(tumour: Tumour) -> str:
    """Name the place of a tumour as far as it is stated: its site, its side and organ, or its organ."""
    return tumour.site or (f"{tumour.side} {tumour.organ}" if tumour.side else tumour.organ)
