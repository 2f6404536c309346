"""How far a dataset's images are from those of another: weight-free measures, and measures that need an encoder."""
