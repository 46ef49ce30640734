"""What Lightning calls during training."""
