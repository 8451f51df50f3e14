"""Event streams: reading them from files, turning them into frames, and simulating them from images."""

from edgesnn.data.events.encode import event_frames, voxel_grid
from edgesnn.data.events.read import read_events
from edgesnn.data.events.saccades import Saccades, simulate
from edgesnn.data.events.stream import Events

__all__ = ["Events", "Saccades", "event_frames", "read_events", "simulate", "voxel_grid"]
