"""Recipes: data, model, schedule and metrics of one task each."""
