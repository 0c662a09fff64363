"""What a frame tells beside its picture: what moves, how deep it is, where it was taken."""
