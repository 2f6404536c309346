"""A folder with a network: `config.json` says which, `model.safetensors` holds its weights. No pickle is read."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from manifests.case import Row
from manifests.errors import FileFormatError, LocationError

__all__ = ["CONFIG", "WEIGHTS", "read_config"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"

Config = TypeVar("Config", bound=Row)


def read_config(folder: Path, kind: type[Config]) -> Config:
    """Read `config.json` as a configuration of some kind.

    Raises:
        LocationError: no such file.
        FileFormatError: not a configuration of this kind.
    """
    try:
        return kind.model_validate_json((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise LocationError(
            str(folder), got=f"no {CONFIG}", need=f"a folder with {WEIGHTS} and {CONFIG}", do="Check the path."
        ) from error
    except ValidationError as error:
        fault = error.errors()[0]
        raise FileFormatError(
            str(folder / CONFIG),
            got=f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}",
            need=f"the fields of {kind.__name__}",
            do="Correct it, or get the folder again.",
        ) from error
