"""Names to engines."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from factory.engines import registry
from factory.testing import ToyImages, ToyMasks
from manifests.errors import EngineContractError, MissingDependencyError, UnknownNameError

INSTALLED = EntryPoints(
    [
        EntryPoint("toy", "factory.testing:ToyMasks", registry.MASK_GROUP),
        EntryPoint("toy", "factory.testing:ToyImages", registry.IMAGE_GROUP),
        EntryPoint("swapped", "factory.testing:ToyImages", registry.MASK_GROUP),
        EntryPoint("broken", "no_such_package_at_all:Masks", registry.MASK_GROUP),
        EntryPoint("phantom", "factory.testing:ToyMasks", registry.MASK_GROUP),
    ]
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if other packages with these entry points were installed."""
    monkeypatch.setattr(registry, "entry_points", lambda group: INSTALLED.select(group=group))


@pytest.mark.usefixtures("installed")
def test_engines_of_other_packages_are_found() -> None:
    assert isinstance(registry.mask_model("toy"), ToyMasks)
    assert isinstance(registry.image_model("toy"), ToyImages)
    assert registry.pair("toy") == ("toy", "toy")
    assert "toy" in registry.engine_names(registry.MASK_GROUP)


@pytest.mark.usefixtures("installed")
def test_what_ships_cannot_be_replaced() -> None:
    assert not isinstance(registry.mask_model("phantom"), ToyMasks)


@pytest.mark.usefixtures("installed")
def test_what_is_wrong_with_an_engine_is_said() -> None:
    with pytest.raises(MissingDependencyError, match="no_such_package_at_all"):
        registry.mask_model("broken")
    with pytest.raises(EngineContractError, match="MaskModel"):
        registry.mask_model("swapped")


@pytest.mark.parametrize("look_up", [registry.mask_model, registry.image_model, registry.pair])
def test_an_unknown_name_lists_the_known(look_up) -> None:
    with pytest.raises(UnknownNameError, match=r"need one of .*(phantom|texture)"):
        look_up("nope")


def test_the_project_names_its_own_pair() -> None:
    assert registry.pair("phantom") == ("phantom", "texture")
