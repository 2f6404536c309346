"""Are synthetic cases of use? nnU-Net trained on real, synthetic and mixed cases, tested on real ones."""
