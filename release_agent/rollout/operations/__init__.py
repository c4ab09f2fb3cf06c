"""The operations on rollouts: arguments in, results out. Only an Observer prints and asks."""
