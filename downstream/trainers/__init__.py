"""Trainer classes for nnU-Net; set `nnUNet_extTrainer` to this folder to use them by name."""
