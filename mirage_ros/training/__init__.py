"""How shipped weights are made: data from simulated apartments, training, and what it scores."""
