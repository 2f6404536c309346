"""The tables of GuideGen's evaluation: what is published, and what our runs measured beside it."""
