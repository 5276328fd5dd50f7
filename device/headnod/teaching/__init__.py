"""New answers for a network whose body stays: corrections, and a last layer that is fitted to them."""
