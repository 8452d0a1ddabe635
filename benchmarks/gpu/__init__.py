"""What timing on a GPU takes: the driver's calls, sessions that keep their buffers there, and the GPU as a place."""
