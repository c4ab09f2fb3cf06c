"""A release agent for containers that run supervisord."""

__version__ = "0.1.0"
