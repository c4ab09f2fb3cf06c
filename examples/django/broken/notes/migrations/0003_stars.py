"""Add a column without a default, which fails because existing rows would have no value in it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notes", "0002_author")]
    operations = [migrations.AddField("note", "stars", models.IntegerField())]
