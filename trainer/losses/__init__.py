"""Losses and schedules: pure functions."""
