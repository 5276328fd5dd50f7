"""Classical methods and the network of the GTZAN script, on the same split as a bundle."""
