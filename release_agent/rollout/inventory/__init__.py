"""Which hosts a rollout is for."""
