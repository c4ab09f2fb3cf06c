"""What a person sees of a rollout."""
