"""Datasets to exports and evidence."""
