"""Notes: everybody may read them, and add one."""

from django.conf import settings
from django.http import HttpResponse, JsonResponse

from .models import Note


def health(_request):
    """Answer with the revision, if the tables are there."""
    Note.objects.first()
    return HttpResponse(settings.REVISION)


def notes(request):
    """Keep a note if there is one, and answer with all."""
    if request.method == "POST":
        Note.objects.create(text=request.POST["text"])
    texts = [note.text for note in Note.objects.order_by("id")]
    return JsonResponse({"revision": settings.REVISION, "notes": texts})
