"""The decisions of a deployment, as functions without input or output; looks and clocks are arguments."""
