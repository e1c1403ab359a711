"""Targets, losses, batches, optimiser and the training loop."""
