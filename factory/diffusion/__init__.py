"""Diffusion as mathematics: schedules, the categorical and the Gaussian process, guidance. Knows no networks."""
