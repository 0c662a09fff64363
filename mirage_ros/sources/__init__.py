"""Where sensor data comes from on a desk without a robot."""
