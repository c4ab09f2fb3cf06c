"""The deployment: resolve, build, publish, prove, roll back; it knows the world by its ports."""
