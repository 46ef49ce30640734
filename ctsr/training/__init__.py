"""How a stage is trained: Trainer, resuming, loggers, what a run says at its end."""
