"""Spoken commands, requests, choices and questions: the mini edition's common audio understanding."""
