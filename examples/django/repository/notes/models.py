"""Tables."""

from django.db import models


class Note(models.Model):
    """What somebody has written."""

    text = models.TextField()
