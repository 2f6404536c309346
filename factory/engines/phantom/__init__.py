"""The phantom: a procedural anatomy of a population, drawn from age, sex, height and weight."""

from factory.engines.phantom.model import SCATTERED, Phantom, paint
from factory.engines.phantom.population import Build, draw_build

__all__ = ["SCATTERED", "Build", "Phantom", "draw_build", "paint"]
