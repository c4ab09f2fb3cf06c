"""Show rollouts to people."""
