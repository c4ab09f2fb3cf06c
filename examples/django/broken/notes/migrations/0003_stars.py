"""A column without a default: the rows that are there would have nothing in it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notes", "0002_author")]
    operations = [migrations.AddField("note", "stars", models.IntegerField())]
