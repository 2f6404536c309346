"""The procedural image model: masks and subject to CT, without weights."""

from factory.engines.texture.model import Texture

__all__ = ["Texture"]
