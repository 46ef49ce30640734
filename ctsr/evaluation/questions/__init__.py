"""What is asked: of whom, on which cases, with which truth."""
