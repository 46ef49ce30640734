"""Figures of images: how near to the truth, how sharp, what is made up."""
