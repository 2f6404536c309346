"""Prompts to cases to datasets: engines, quality gate and execution."""
