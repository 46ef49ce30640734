"""A clinical scanner from physics: projections of a body with a lung in it, and their reconstruction."""
