"""The demonstration: a source of sensor data, the world model, and what came of it in pictures."""
