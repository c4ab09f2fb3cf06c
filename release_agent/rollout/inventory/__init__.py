"""Find the hosts of a rollout."""
