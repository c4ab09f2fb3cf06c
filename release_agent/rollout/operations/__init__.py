"""What can be done with rollouts: arguments in, results out. Nothing is printed, and nobody is asked except by an Observer."""
