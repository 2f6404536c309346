"""Training GuideGen's three stages on any dataset in the project's format; see `docs/guidegen.md`."""
