"""Notes that everybody may read and add."""

from django.conf import settings
from django.http import HttpResponse, JsonResponse

from .models import Note


def health(_request):
    """Return the revision, if the tables exist."""
    Note.objects.first()
    return HttpResponse(settings.REVISION)


def notes(request):
    """Save a note if the request has one, and return all notes."""
    if request.method == "POST":
        Note.objects.create(text=request.POST["text"], author=request.POST["author"])
    texts = [f"{note.text}, by {note.author}" for note in Note.objects.order_by("id")]
    return JsonResponse({"revision": settings.REVISION, "notes": texts})
