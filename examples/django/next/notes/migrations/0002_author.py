"""Add a column with a default in the database, so that the previous version can still add notes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notes", "0001_note")]
    operations = [migrations.AddField("note", "author", models.TextField(db_default="nobody"))]
