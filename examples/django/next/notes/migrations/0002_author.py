"""Expand: the database itself fills the column in, so the version before goes on to add notes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notes", "0001_note")]
    operations = [migrations.AddField("note", "author", models.TextField(db_default="nobody"))]
