"""Engines: mask models and image models, one a file, found through the registry."""
