"""Carrying rows elsewhere: from one database to another, into a dump, and back."""
