"""The record of rollouts, and the locks of their operators."""
