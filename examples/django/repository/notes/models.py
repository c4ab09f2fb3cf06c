"""Tables."""

from django.db import models


class Note(models.Model):
    """A text that somebody has written."""

    text = models.TextField()
