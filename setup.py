"""For tools that run setup.py; the package is described in setup.cfg."""

from setuptools import setup

setup()
