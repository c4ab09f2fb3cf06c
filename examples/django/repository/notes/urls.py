"""Addresses."""

from django.urls import path

from . import views

urlpatterns = [path("", views.notes), path("health", views.health)]
