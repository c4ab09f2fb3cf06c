"""Tables."""

from django.db import models


class Note(models.Model):
    """What somebody has written, and who."""

    text = models.TextField()
    author = models.TextField(db_default="nobody")
