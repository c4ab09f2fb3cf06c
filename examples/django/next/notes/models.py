"""Tables."""

from django.db import models


class Note(models.Model):
    """A text that somebody has written, and the author."""

    text = models.TextField()
    author = models.TextField(db_default="nobody")
