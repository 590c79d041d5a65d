"""From predictions to numbers that can be believed: metrics, intervals, trivial baselines, files."""

from .activation_maps import SaveActivationMaps
