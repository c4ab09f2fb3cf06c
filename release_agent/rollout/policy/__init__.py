"""The decisions of a rollout, as functions without input or output."""
