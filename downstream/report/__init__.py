"""What a dataset looks like and how good it is: a contact sheet, and a page that needs nothing else."""
