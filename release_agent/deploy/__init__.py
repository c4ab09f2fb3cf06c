"""The deployment: resolve, build, publish, prove, roll back; it reaches the outside only through its ports."""
