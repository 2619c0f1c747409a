"""Envoi."""
