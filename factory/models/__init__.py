"""Networks in plain torch: they know tensors, and nothing of cases, prompts or datasets."""
