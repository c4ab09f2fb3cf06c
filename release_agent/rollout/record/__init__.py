"""Where rollouts are written down, and who runs them."""
