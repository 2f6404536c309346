"""Which engines there are: names to mask models and image models, found through entry points.

Any installed package may add an engine under the entry point groups `ct_factory.mask_models`
and `ct_factory.image_models`. An engine's module is imported only when the engine is chosen.
A pair names a mask model and an image model that belong together. `NAME:ARGUMENT` names an
engine that needs to be told something, such as the dataset that a bank draws from.
"""

from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from types import MappingProxyType

from factory.engines.base import ImageModel, MaskModel
from manifests.errors import EngineContractError, InvalidValueError, MissingDependencyError, UnknownNameError

__all__ = ["IMAGE_GROUP", "MASK_GROUP", "absolute", "engine_names", "image_model", "mask_model", "pair", "pair_names"]

MASK_GROUP, IMAGE_GROUP = "ct_factory.mask_models", "ct_factory.image_models"

_BUILT_IN = (
    EntryPoint("bank", "factory.engines.bank:Bank", MASK_GROUP),
    EntryPoint("guidegen", "factory.engines.guidegen:GuideGenMasks", MASK_GROUP),
    EntryPoint("guidegen", "factory.engines.guidegen:GuideGenImages", IMAGE_GROUP),
    EntryPoint("guidegen-slices", "factory.engines.guidegen:GuideGenSlices", IMAGE_GROUP),
    EntryPoint("phantom", "factory.engines.phantom:Phantom", MASK_GROUP),
    EntryPoint("texture", "factory.engines.texture:Texture", IMAGE_GROUP),
)
_PAIRS = MappingProxyType({"phantom": ("phantom", "texture")})


def _found(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name; what ships with the project cannot be replaced."""
    found = {entry.name: entry for entry in sorted(entry_points(group=group), key=lambda entry: entry.value)}
    return found | {entry.name: entry for entry in _BUILT_IN if entry.group == group}


def engine_names(group: str) -> tuple[str, ...]:
    """Names of the mask models (`MASK_GROUP`) or the image models (`IMAGE_GROUP`), sorted."""
    return tuple(sorted(_found(group)))


def absolute(name: str) -> str:
    """The same engine, its argument made absolute where it is a path that exists: for workers elsewhere."""
    name, colon, argument = name.partition(":")
    return name + colon + (str(Path(argument).resolve()) if argument and Path(argument).exists() else argument)


def _load(group: str, called: str, option: str) -> object:
    name, colon, argument = called.partition(":")
    found = _found(group)
    if name not in found:
        raise UnknownNameError(
            option, got=repr(name), need=f"one of {', '.join(sorted(found))}", do="See: factory engines."
        )
    try:
        engine = found[name].load()
    except ImportError as error:
        raise MissingDependencyError(
            f"engine {name!r}", got=str(error), need="its packages", do="Install what the engine's documentation names."
        ) from error
    if not colon:
        return engine()
    if not signature(engine).parameters:
        raise InvalidValueError(
            option,
            got=repr(called),
            need=f"{name!r} alone: it takes no argument",
            do="Leave out the colon and the rest.",
        )
    return engine(argument)


def mask_model(name: str) -> MaskModel:
    """Make the mask model of a name, or of `NAME:ARGUMENT`.

    Raises:
        UnknownNameError: listing the mask models there are.
        InvalidValueError: if the model takes no argument and one is given, or refuses it.
        MissingDependencyError: if the engine's own packages are not installed.
        EngineContractError: if the entry point is no mask model.
    """
    model = _load(MASK_GROUP, name, "mask model")
    if not isinstance(model, MaskModel):
        raise _not_a(name, "MaskModel")
    return model


def image_model(name: str) -> ImageModel:
    """Make the image model of a name; raises like `mask_model`."""
    model = _load(IMAGE_GROUP, name, "image model")
    if not isinstance(model, ImageModel):
        raise _not_a(name, "ImageModel")
    return model


def _not_a(name: str, kind: str) -> EngineContractError:
    return EngineContractError(
        f"engine {name!r}", got="something else", need=f"a {kind}", do="Report it to the package that ships it."
    )


def _pairs() -> dict[str, tuple[str, str]]:
    both = set(_found(MASK_GROUP)) & set(_found(IMAGE_GROUP))
    return {shared: (shared, shared) for shared in both} | dict(_PAIRS)


def pair_names() -> tuple[str, ...]:
    """Names that stand for a mask model with an image model, sorted."""
    return tuple(sorted(_pairs()))


def pair(name: str) -> tuple[str, str]:
    """Names of the mask model and the image model that an engine name stands for.

    A name that both groups hold is a pair with itself.

    Raises:
        UnknownNameError: listing the pairs there are.
    """
    pairs = _pairs()
    if name not in pairs:
        raise UnknownNameError(
            "--engine",
            got=repr(name),
            need=f"one of {', '.join(sorted(pairs))}",
            do="Choose one, or mix with --masks and --images; factory engines lists all.",
        )
    return pairs[name]
