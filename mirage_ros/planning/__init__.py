"""Candidate paths, scores over predictions and planners; knows predictions, not models."""
