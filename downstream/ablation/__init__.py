"""GuideGen's ablations: each part of the method left out in turn, trained, drawn from, and measured like the whole."""
