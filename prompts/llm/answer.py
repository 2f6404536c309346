"""What a model is asked to answer: a small flat JSON object, and reading one."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Answer"]


class Answer(BaseModel):
    """One answer about one report."""

    model_config = ConfigDict(frozen=True, extra="forbid")
