"""Measurements of a nodule without a network: shape, intensity, texture, simple masks."""
