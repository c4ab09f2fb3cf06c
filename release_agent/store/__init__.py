"""The root directory: releases, the link current, shared paths, the lock."""
