"""Questions asked: every competitor's figures, case by case."""
