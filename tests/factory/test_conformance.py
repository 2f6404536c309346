"""The engines that ship, and the toys, under the suite that engines of others inherit."""

import pytest

from factory.engines.base import ImageModel, MaskModel
from factory.engines.registry import image_model, mask_model
from factory.testing import EngineSuite, ToyImages, ToyMasks


class TestToys(EngineSuite):
    def make_masks(self) -> MaskModel:
        return ToyMasks()

    def make_images(self) -> ImageModel:
        return ToyImages()


@pytest.mark.timeout(600)
class TestPhantomAndTexture(EngineSuite):
    def make_masks(self) -> MaskModel:
        return mask_model("phantom")

    def make_images(self) -> ImageModel:
        return image_model("texture")


class Forgetful(ToyMasks):
    """Draws from a generator that lives longer than a request: what the suite must find."""

    drawn = 0

    def draw(self, request):
        self.drawn += 1
        masks = super().draw(request)
        masks.anatomy[0, 0, 0] = self.drawn
        return masks


class ForgetfulSuite(EngineSuite):
    def make_masks(self) -> MaskModel:
        return Forgetful()

    def make_images(self) -> ImageModel:
        return ToyImages()


def test_the_suite_finds_state_between_cases() -> None:
    with pytest.raises(AssertionError, match=r"anatomy|ct"):
        ForgetfulSuite().test_a_case_is_the_same_in_any_order_and_process_state()
