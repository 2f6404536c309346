"""What is printed and written as JSON: plain data, null where nothing is defined."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from math import isnan
from typing import Any

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Plain data of dictionaries, sequences, dataclasses and values, without NaN, which JSON has not."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and isnan(value) else value
