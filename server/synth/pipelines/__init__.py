"""Generators that others trained: text-to-image and class-conditional pipelines of diffusers."""
