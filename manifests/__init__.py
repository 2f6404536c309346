"""What a dataset is: anatomy, grids, identity, cases, the store and the manifest."""
