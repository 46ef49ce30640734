"""The reconstruction kernel of a scan beside that of the training, and the filter from one to the other."""
